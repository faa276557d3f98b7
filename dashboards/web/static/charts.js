// Draws rows as SVG charts. Every figure can be read without colour: by its label, and as a table.

import { s } from "./dom.js";
import { NOT_WHOLE, marked, shown, tick } from "./format.js";

const DASHES = ["", "7 4", "2 3", "9 3 2 3", "14 4", "4 2", "1 4", "12 2 2 2"];
const LINE = 16;
const CHAR = 6.6;

/** Converts rows to axis values, series and a figure for each pair of them. */
export function shaped(panel, rows) {
  const [axis, split] = panel.dimensions;
  const depth = panel.dimensions.length;
  const names = split ? unique(rows.map((row) => row[1])).sort(inOrder(split.order)) : panel.measures.map((one) => one.label);
  let positions = unique(rows.map((row) => row[0]));
  if (axis.kind === "time") positions = positions.sort((a, b) => a - b);
  const figures = new Map(positions.map((position) => [position, names.map(() => null)]));
  for (const row of rows) {
    if (split) figures.get(row[0])[names.indexOf(row[1])] = row[depth];
    else panel.measures.forEach((_, n) => (figures.get(row[0])[n] = row[depth + n]));
  }
  return { timed: axis.kind === "time", positions, names, figures, unit: panel.measures[0].unit };
}

// the same series has the same position and colour however the figures change
const inOrder = (order) => (a, b) => order.indexOf(a) - order.indexOf(b) || compare(a, b);

const unique = (values) => [...new Set(values)];

/** Draws the chart of a panel; intervals in `partial` are cut or not over. */
export function chart(panel, rows, size, palette, linkTo, partial = []) {
  if (panel.chart === "heatmap") return heatmap(panel, rows, size, linkTo);
  const data = shaped(panel, rows);
  const paints = ofValues(panel.dimensions[1], data.names, palette);
  if (panel.chart === "bar_horizontal") return bars(panel, data, size, paints, linkTo);
  return plane(panel, data, size, paints, linkTo, new Set(partial));
}

/** Values with a declared colour keep it, whichever values exist: more risk is more contrast. */
const ofValues = (split, names, palette) =>
  split?.colours ? names.map((name, n) => split.colours[name] ?? colour(palette, n)) : palette;

/** Returns the colour of a series; series beyond the palette get darker shades. */
function colour(palette, n) {
  const base = palette[n % palette.length];
  if (n < palette.length) return base;
  const parts = [1, 3, 5].map((at) => Math.round(parseInt(base.slice(at, at + 2), 16) * 0.5));
  return `rgb(${parts.join(",")})`;
}

function frame(panel, size, ...children) {
  const label = `${panel.title}. ${panel.definition} The button Table shows the figures.`;
  const { width, height } = size;
  const flat = children.flat(Infinity);
  // a screen reader cannot reach elements inside an image: a chart with links is a group
  const role = flat.some((one) => one?.tagName === "a") ? "group" : "img";
  return s("svg", { role, "aria-label": label, viewBox: `0 0 ${width} ${height}`, width, height }, ...children);
}

const words = (text, x, y, more = {}) => s("text", { x: round(x), y: round(y), ...more }, String(text));
const round = (value) => Math.round(value * 10) / 10;
const clip = (text, chars) => (text.length > chars ? `${text.slice(0, Math.max(1, chars - 1))}…` : text);

function linked(address, shape) {
  return address ? s("a", { href: address, class: "into" }, shape) : shape;
}

/** Returns round numbers from `low` to at least `high`. */
export function ticks(low, high, most = 5) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((one) => rough <= one * power * 1.0000001);
  const marks = [];
  for (let at = Math.floor(low / step) * step; marks.length < 12; at += step) {
    marks.push(Math.abs(at) < step / 1e6 ? 0 : at);
    if (at >= high - step / 1e6) break;
  }
  return marks;
}

function legend(names, palette, size, dashes) {
  if (names.length < 2) return { shapes: [], height: 0 };
  const shapes = [];
  let [x, y] = [4, 12];
  names.forEach((name, n) => {
    const text = clip(String(name), 28);
    const wide = 26 + text.length * CHAR + 10;
    if (x + wide > size.width && x > 4) [x, y] = [4, y + LINE];
    const paint = colour(palette, n);
    const dashed = n < dashes;
    shapes.push(
      dashed
        ? s("line", { x1: x, x2: x + 20, y1: y - 4, y2: y - 4, stroke: paint, "stroke-width": 2.5, "stroke-dasharray": DASHES[n % DASHES.length] })
        : s("rect", { x, y: y - 10, width: 12, height: 12, rx: 2, fill: paint, "fill-opacity": dashes ? 0.4 : 1 }),
      words(text, x + (dashed ? 25 : 17), y, { class: "legend" }),
    );
    x += wide;
  });
  return { shapes, height: y + 6 };
}

/** Draws lines, areas or vertical bars over an axis. */
function plane(panel, data, size, palette, linkTo, partial) {
  const stacked = ["area", "bar_stacked"].includes(panel.chart);
  const lines = panel.chart === "line";
  const bands = lines ? pairs(data.names) : [];
  const inBand = new Set(bands.flatMap((one) => [one.from, one.to]));
  const drawn = data.names.map((_, n) => n).filter((n) => !inBand.has(n));
  const shownNames = [...drawn.map((n) => data.names[n]), ...bands.map((one) => one.name)];
  const key = legend(shownNames, palette, size, lines ? drawn.length : 0);
  const all = data.positions.map((position) => data.figures.get(position));
  const sums = all.map((row) => row.reduce((sum, value) => sum + Math.max(0, value ?? 0), 0));
  const high = Math.max(0, ...(stacked ? sums : all.flat().map((value) => value ?? 0)));
  const low = Math.min(0, ...all.flat().map((value) => value ?? 0));
  const scale = ticks(low, high || 1);
  const [bottom, top] = [scale[0], scale.at(-1)];
  const labels = scale.map((value) => marked(value, data.unit));
  const left = 10 + Math.max(...labels.map((text) => text.length)) * CHAR;
  const under = axis(data, size, left);
  const box = { x: left, y: key.height + 8, w: size.width - left - 10, h: size.height - key.height - 12 - under.height };
  const y = (value) => round(box.y + box.h - ((value - bottom) / (top - bottom)) * box.h);
  const slot = box.w / Math.max(1, data.positions.length);
  const x = (n) => round(box.x + slot * (n + 0.5));
  const grid = scale.flatMap((value, n) => [
    s("line", { x1: left, x2: left + box.w, y1: y(value), y2: y(value), class: value ? "rule" : "axis" }),
    words(labels[n], left - 5, y(value) + 4, { "text-anchor": "end" }),
  ]);
  const shapes = lines
    ? [...bands.map((one, n) => band(one, all, x, y, colour(palette, drawn.length + n))),
       ...drawn.flatMap((n, position) => path(all.map((row) => row[n]), x, y, colour(palette, position), DASHES[position % DASHES.length]))]
    : panel.chart === "area" ? areas(data, all, x, y, palette) : columns(panel, data, all, { x, y, slot, stacked, palette, linkTo });
  const over = (n, name, title) =>
    s("rect", { x: round(box.x + slot * n), y: box.y, width: round(slot), height: box.h, class: name }, s("title", {}, title));
  const hover = data.positions.map((position, n) => over(n, "hover", summary(data, position, partial)));
  const unfinished = data.positions.flatMap((position, n) => (partial.has(position) ? [over(n, "partial", summary(data, position, partial))] : []));
  return frame(panel, size, ...key.shapes, ...grid, ...unfinished, ...under.at(x), ...(lines || panel.chart === "area" ? [...shapes, ...hover] : shapes));
}

const summary = (data, position, partial) =>
  [(data.timed ? shown(position, "time") : shown(position, "text")) + (partial.has(position) ? NOT_WHOLE : ""),
   ...data.names.map((name, n) => `${name}: ${shown(data.figures.get(position)[n], data.unit)}`)].join("\n");

/** Draws the axis labels: some of the times, or all words, slanted if there is no room. */
function axis(data, size, left) {
  const span = data.timed ? data.positions.at(-1) - data.positions[0] : 0;
  const text = data.positions.map((position) => (data.timed ? tick(position, span) : clip(String(position), 18)));
  const wide = Math.max(...text.map((one) => one.length)) * CHAR + 12;
  const slot = (size.width - left - 10) / Math.max(1, text.length);
  const aslant = !data.timed && wide > slot && text.length <= 40;
  const every = aslant ? 1 : Math.max(1, Math.ceil(wide / slot));
  const height = aslant ? Math.min(80, wide * 0.5 + 14) : 22;
  const y = size.height - (aslant ? height - 12 : 8);
  const one = (x, label) => aslant
    ? words(label, x + 4, y, { "text-anchor": "end", transform: `rotate(-30 ${round(x + 4)} ${round(y)})` })
    : words(label, x, y, { "text-anchor": "middle" });
  const fits = (x) => aslant || x + wide / 2 - 6 <= size.width;
  return { height, at: (x) => text.map((label, n) => (n % every || !fits(x(n)) ? null : one(x(n), label))) };
}

/** Finds bands: "80 % from" and "80 % to" are the edges of one. */
function pairs(names) {
  return names.flatMap((name, from) => {
    const to = name.endsWith(" from") ? names.indexOf(name.replace(/ from$/, " to")) : -1;
    return to < 0 ? [] : [{ name: name.replace(/ from$/, " interval"), from, to }];
  });
}

function band(one, all, x, y, colour) {
  const known = all.map((row, n) => [n, row[one.from], row[one.to]]).filter(([, a, b]) => a !== null && b !== null);
  const edge = [...known.map(([n, , b]) => `${x(n)},${y(b)}`), ...known.reverse().map(([n, a]) => `${x(n)},${y(a)}`)];
  return s("polygon", { points: edge.join(" "), fill: colour, "fill-opacity": 0.25 });
}

function path(values, x, y, colour, dash) {
  const runs = [[]];
  values.forEach((value, n) => (value === null ? runs.push([]) : runs.at(-1).push(`${x(n)},${y(value)}`)));
  return runs.filter((run) => run.length).map((run) =>
    run.length === 1
      ? s("circle", { cx: run[0].split(",")[0], cy: run[0].split(",")[1], r: 3, fill: colour })
      : s("polyline", { points: run.join(" "), fill: "none", stroke: colour, "stroke-width": 2, "stroke-dasharray": dash }));
}

function areas(data, all, x, y, palette) {
  const below = all.map(() => 0);
  return data.names.map((_, position) => {
    const lower = all.map((_, n) => `${x(n)},${y(below[n])}`).reverse();
    const upper = all.map((row, n) => `${x(n)},${y((below[n] += Math.max(0, row[position] ?? 0)))}`);
    return s("polygon", { points: [...upper, ...lower].join(" "), fill: colour(palette, position), "fill-opacity": 0.85, class: "edge" });
  });
}

function columns(panel, data, all, { x, y, slot, stacked, palette, linkTo }) {
  const shapes = [];
  const series = data.names.length;
  const wide = Math.max(1, stacked || series === 1 ? slot * 0.8 : (slot * 0.8) / series);
  all.forEach((row, n) => {
    let below = 0;
    row.forEach((value, position) => {
      if (value === null || value === 0) return;
      const [from, to] = stacked ? [below, (below += value)] : [0, value];
      const begin = stacked || series === 1 ? x(n) - wide / 2 : x(n) - slot * 0.4 + wide * position;
      const title = `${data.timed ? shown(data.positions[n], "time") : data.positions[n]}\n${data.names[position]}: ${shown(value, data.unit)}`;
      const bar = s("rect", {
        x: round(begin), width: round(wide), y: y(Math.max(from, to)), height: Math.max(0.5, round(Math.abs(y(from) - y(to)))),
        fill: colour(palette, position), class: "edge",
      }, s("title", {}, title));
      shapes.push(linked(linkTo(panel.dimensions.length > 1 ? [data.positions[n], data.names[position]] : [data.positions[n]]), bar));
    });
  });
  return shapes;
}

/** Draws horizontal bars with a figure at the end of each. */
function bars(panel, data, size, palette, linkTo) {
  const key = legend(data.names, palette, size, 0);
  const all = data.positions.map((position) => data.figures.get(position));
  const chars = Math.min(34, Math.floor((size.width * 0.4) / CHAR), Math.max(...data.positions.map((one) => String(one).length)));
  const left = chars * CHAR + 12;
  const ends = all.map((row) => row.map((value) => shown(value, data.unit, true)));
  const room = Math.max(...ends.flat().map((text) => text.length)) * CHAR + 10;
  const high = Math.max(...all.flat().map((value) => Math.abs(value ?? 0))) || 1;
  const slot = (size.height - key.height - 6) / data.positions.length;
  const thick = Math.max(2, Math.min(26, (slot * 0.75) / data.names.length));
  const shapes = data.positions.flatMap((position, n) => {
    const middle = key.height + slot * (n + 0.5);
    const name = words(clip(String(position), chars), left - 6, middle + 4, { "text-anchor": "end" });
    const barShapes = all[n].flatMap((value, m) => {
      const top = round(middle - (thick * data.names.length) / 2 + thick * m);
      const length = round((Math.abs(value ?? 0) / high) * (size.width - left - room));
      const title = s("title", {}, `${position}\n${data.names[m]}: ${shown(value, data.unit)}`);
      const bar = s("rect", { x: left, y: top, width: Math.max(0.5, length), height: round(thick), fill: colour(palette, m) }, title);
      return [bar, words(ends[n][m], left + length + 5, top + thick / 2 + 4, { class: "figure" })];
    });
    const address = linkTo([position]);
    return address ? [linked(address, s("g", {}, name, ...barShapes))] : [name, ...barShapes];
  });
  return frame(panel, size, ...key.shapes, ...shapes);
}

/** Draws a heat map: columns are the first dimension, rows the second one; darker is more. */
function heatmap(panel, rows, size, linkTo) {
  const columns = unique(rows.map((row) => row[0])).sort(compare);
  const lines = unique(rows.map((row) => row[1]));
  const values = new Map(rows.map((row) => [JSON.stringify([row[0], row[1]]), row[2]]));
  const known = rows.map((row) => row[2]).filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const unit = panel.measures[0].unit;
  const left = Math.max(...lines.map((one) => String(one).length)) * CHAR + 14;
  const wide = (size.width - left - 4) / columns.length;
  const tall = (size.height - 40) / lines.length;
  const shapes = lines.flatMap((line, m) => [
    words(line, left - 6, 6 + tall * (m + 0.5) + 4, { "text-anchor": "end" }),
    ...columns.map((column, n) => {
      const value = values.get(JSON.stringify([column, line])) ?? null;
      if (value === null) return null;
      const share = high > low ? (value - low) / (high - low) : 1;
      const text = shown(value, unit, true);
      const cell = s("g", {},
        s("rect", { x: round(left + wide * n), y: round(6 + tall * m), width: round(wide - 1), height: round(tall - 1), fill: shade(share) }),
        text.length * CHAR < wide && tall > 13
          ? words(text, left + wide * (n + 0.5), 6 + tall * (m + 0.5) + 4, { "text-anchor": "middle", class: share > 0.5 ? "on-dark" : "on-light" }) : null,
        s("title", {}, `${panel.dimensions[0].label} ${column}, ${panel.dimensions[1].label} ${line}\n${panel.measures[0].label}: ${shown(value, unit)}`));
      return linked(linkTo([column, line]), cell);
    }),
  ]);
  const under = columns.map((column, n) => words(column, left + wide * (n + 0.5), size.height - 20, { "text-anchor": "middle" }));
  const title = words(`${panel.dimensions[0].label} →, ${panel.dimensions[1].label} ↓`, left, size.height - 4, { class: "legend" });
  return frame(panel, size, ...shapes, ...under, title);
}

const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1);

/** Returns a colour from near white to dark blue; lightness alone shows the value. */
function shade(share) {
  const from = [235, 243, 250];
  const to = [8, 64, 110];
  return `rgb(${from.map((one, n) => Math.round(one + (to[n] - one) * share)).join(",")})`;
}
