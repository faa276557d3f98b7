// Draws rows as SVG charts, and heat maps as tables. Every figure can be read without colour: by its label, and as a table.
// A chart carries a model of its marks, by which hover.js shows tooltips: svg.model.

import { h, s } from "./dom.js";
import { NOT_WHOLE, change, formOf, interval, label, month, moment, shown, stepOf, tick } from "./format.js";

const DASHES = ["", "7 4", "2 3", "9 3 2 3", "14 4", "4 2", "1 4", "12 2 2 2"];
const LINE = 24;
const CHAR = 6.6;
/** Key of the bucket of all further values. */
export const OTHER = "(other)";

const unique = (values) => [...new Set(values)];
const round = (value) => Math.round(value * 10) / 10;
const clip = (text, chars) => (text.length > chars ? `${text.slice(0, Math.max(1, chars - 1))}…` : text);
const words = (text, x, y, more = {}) => s("text", { x: round(x), y: round(y), ...more }, String(text));
const key = (position) => JSON.stringify(position);

/**
 * Draws the chart of a panel.
 *
 * more: `partial` intervals, `compare` and `layer` as the server returns them, `notes`, and `hidden`, a set of series; `compare.name` names the other period.
 */
export function chart(panel, rows, size, palette, linkTo, more = {}) {
  if (panel.chart === "heatmap") return heatmap(panel, rows, linkTo);
  const data = shaped(panel, rows, palette, more);
  return panel.chart === "bar_horizontal" ? bars(panel, data, size, linkTo, more) : plane(panel, data, size, linkTo, more);
}

/** Converts rows to axis positions, series, and the figures of both. */
function shaped(panel, rows, palette, { compare, layer, partial = [], hidden }) {
  const [axis, split] = panel.dimensions;
  const timed = axis.kind === "time";
  const depth = panel.dimensions.length;
  const rank = (name) => (name === OTHER ? 1e9 : split.order?.indexOf(name) ?? -1);
  // the same series has the same position and colour however the figures change
  const names = split ? unique([...rows, ...(compare?.rows ?? [])].map((row) => row[1])).sort((a, b) => rank(a) - rank(b) || inOrder(a, b)) : panel.measures.map((one) => one.label);
  const series = names.map((name, n) => {
    const measure = panel.measures[split ? 0 : n];
    const paint = split?.colours?.[name] ?? colour(palette, name, n);
    return { ...measure, name, label: split ? label(split.field, name) : name, paint, dash: DASHES[n % DASHES.length], line: measure.line || panel.chart === "line" };
  });
  const layered = (layer && panel.layer?.measures) ?? [];
  layered.forEach((one, n) => series.push({ ...one, name: one.label, paint: palette[(names.length + n) % palette.length], dash: "4 3", line: true, layer: true }));
  joinBands(series);
  const figures = new Map(rows.map((row) => [row[0], []]));
  const fill = (figures, some) => some.forEach((row) => {
    if (!figures.has(row[0])) figures.set(row[0], []);
    if (split) figures.get(row[0])[names.indexOf(row[1])] = row[depth];
    else for (let n = 0; n < names.length; n++) figures.get(row[0])[n] = row[depth + n];
  });
  fill(figures, rows);
  if (layered.length) for (const row of layer.rows) {
    if (!figures.has(row[0])) figures.set(row[0], []);
    row.slice(1).forEach((value, n) => (figures.get(row[0])[names.length + n] = value));
  }
  const before = compare ? new Map() : null;
  if (compare) fill(before, compare.rows);
  series.forEach((one, n) => {
    const of = (map) => (position) => {
      const value = map?.get(position)?.[n] ?? null;
      return one.below && value !== null ? -Math.abs(value) : value;
    };
    [one.at, one.was] = [of(figures), of(one.layer ? null : before)];
  });
  const positions = timed ? [...figures.keys()].sort((a, b) => a - b) : [...figures.keys()];
  const step = timed ? stepOf(positions) : 0;
  const text = (position) => (timed ? interval(position, step) : axis.kind === "steps" ? String(position) : month(label(axis.field, position)));
  return { timed, step, text, positions, series, visible: series.filter((one) => !hidden?.has(one.name) && !one.edge), partial: new Set(partial), beforePartial: new Set(compare?.partial), compared: Boolean(before), own: compare?.own_keys ?? {}, made: layered.length ? layer.as_of : null, before: compare?.name ?? "" };
}

/** Returns the colour of a series; series beyond the palette have its colours again, nearer to that of text. */
const colour = (palette, name, n) => name === OTHER ? "var(--other)" : n < palette.length ? palette[n] : `color-mix(in srgb, ${palette[n % palette.length]} 70%, var(--ink))`;

/** Joins "80 % from" and "80 % to", the edges of one band, to one series. */
function joinBands(series) {
  let opacity = 0.6;
  for (const low of series) {
    const high = low.name.endsWith(" from") && series.find((one) => one.name === low.name.replace(/ from$/, " to"));
    if (!high) continue;
    high.edge = true;
    low.high = high;
    low.opacity = opacity /= 2;
    low.paint = "var(--s1)";
    low.label = low.name.replace(/ from$/, "").replace(" %", "%");
    if (!/range|interval/.test(low.label)) low.label += " range";
  }
}

const inOrder = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1);

function frame(panel, size, model, ...children) {
  const { width, height } = size;
  const svg = s("svg", { class: "chart", role: "application", "aria-roledescription": "chart", tabindex: 0, "data-key": `chart ${panel.id ?? panel.title}`, viewBox: `0 0 ${width} ${height}`, width, height,
    "aria-label": `${panel.title}. ${panel.definition} Arrow keys read the values${model.zoom ? ", with Shift they select a period to zoom into" : ""}.` }, ...children);
  svg.model = model;
  return svg;
}

const linked = (address, shape, name) => (address ? s("a", { href: address, class: "into", tabindex: -1, "aria-label": name }, shape) : shape);

/** Returns round numbers from `low` to at least `high`, at least `least` apart. */
export function ticks(low, high, most = 5, least = 0) {
  const span = high - low || Math.abs(high) || 1;
  const rough = span / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = Math.max(least, power * [1, 2, 5, 10].find((one) => rough <= one * power * 1.0000001));
  const marks = [];
  for (let at = Math.floor(low / step) * step; marks.length < 12; at += step) {
    marks.push(Math.abs(at) < step / 1e6 ? 0 : at);
    if (at >= high - step / 1e6) break;
  }
  return marks;
}

/** Draws the legend: buttons that hide and show series. */
function legend(data, size, hidden, others = [], filters = false) {
  const entries = data.series.filter((one) => !one.edge);
  const shapes = [];
  let [x, y] = [4, 16];
  const place = (text) => {
    const wide = 26 + text.length * CHAR + 10;
    if (x + wide > size.width && x > 4) [x, y] = [4, y + LINE];
    return (x += wide) - wide;
  };
  if (entries.length > 1) entries.forEach((one, n) => {
    const text = clip(one.label, 28);
    const at = place(text);
    const dashed = one.line && !one.high;
    const off = hidden?.has(one.name);
    shapes.push(s("g", { class: off ? "key off" : "key", role: "button", tabindex: n ? -1 : 0, "aria-pressed": String(!off), "aria-label": one.label, "data-series": one.name, "data-key": `key ${one.name}` },
      s("title", {}, filters ? "Click to hide or show, Shift-click to filter by it" : "Click to hide or show"),
      s("rect", { x: at - 3, y: y - 16, width: 30 + text.length * CHAR, height: LINE, class: "hit" }),
      dashed ? s("line", { x1: at, x2: at + 20, y1: y - 4, y2: y - 4, stroke: one.paint, "stroke-width": 2.5, "stroke-dasharray": one.dash })
        : s("rect", { x: at, y: y - 10, width: 12, height: 12, rx: 2, fill: one.paint, "fill-opacity": one.opacity ?? 1 }),
      words(text, at + (dashed ? 25 : 17), y)));
  });
  for (const [text, dash] of others) {
    const at = place(text);
    if (dash) shapes.push(s("line", { x1: at, x2: at + 20, y1: y - 4, y2: y - 4, class: "before", "stroke-dasharray": dash }));
    shapes.push(words(text, at + (dash ? 25 : 0), y, { class: "soft" }));
  }
  return { shapes, height: shapes.length ? y + 8 : 0 };
}

/** Draws lines, areas or vertical bars over an axis. */
function plane(panel, data, size, linkTo, { hidden, notes = [] }) {
  const { positions, visible, partial } = data;
  const stacked = ["area", "bar_stacked"].includes(panel.chart);
  const solid = visible.filter((one) => !one.line);
  const lines = visible.filter((one) => one.line && !one.high);
  const bands = visible.filter((one) => one.high);
  const previous = !data.compared ? [] : stacked && solid.length > 1 ? [positions.map((p) => (data.timed && !(p in data.own) ? null : solid.reduce((sum, one) => sum + (one.was(p) ?? 0), 0)))]
    : visible.filter((one) => !one.high && !one.layer).slice(0, 3).map((one) => positions.map(one.was));
  const others = [...(data.compared ? [[data.before, "3 3"]] : []), ...(data.made ? [[`Forecast made on ${interval(data.made, 86400e3)}`, ""]] : [])];
  const top = legend(data, size, hidden, others, Boolean(panel.dimensions[1]?.filter));
  const sums = (sign) => positions.map((p) => solid.reduce((sum, one) => sum + Math.max(0, sign * (one.at(p) ?? 0)), 0) * sign);
  const all = [...(stacked ? [...sums(1), ...sums(-1)] : solid.flatMap((one) => positions.map(one.at))), ...lines.flatMap((one) => positions.map(one.at)),
    ...bands.flatMap((one) => [...positions.map(one.at), ...positions.map(one.high.at)]), ...previous.flat(), ...(panel.reference_lines ?? []).map((one) => one.value)].map((value) => value ?? 0);
  const { unit } = panel.measures[0];
  const scale = ticks(Math.min(0, ...all), Math.max(0, ...all) || 1, 5, unit === "count" ? 1 : 0);
  const [bottom, high] = [scale[0], scale.at(-1)];
  const form = formOf(scale, unit, true);
  const labels = scale.map(form);
  const left = 10 + Math.max(...labels.map((text) => text.length)) * CHAR;
  const under = axis(data, size, left);
  const box = { x: left, y: top.height + 8, w: size.width - left - 10, h: size.height - top.height - 12 - under.height };
  const y = (value) => round(box.y + box.h - ((value - bottom) / (high - bottom)) * box.h);
  const slot = box.w / Math.max(1, positions.length);
  const x = (n) => round(box.x + slot * (n + 0.5));
  const grid = scale.flatMap((value, n) => [
    s("line", { x1: left, x2: left + box.w, y1: y(value), y2: y(value), class: value ? "rule" : "axis" }), words(labels[n], left - 5, y(value) + 4, { "text-anchor": "end" })]);
  const trace = (values, look, cut = partial) => path(values.map((value, n) => (value === null ? null : [x(n), y(value), cut.has(positions[n])])), look);
  const at = { x, y, slot };
  const shapes = [
    ...bands.map((one) => band(one, positions, x, y)),
    ...(panel.chart === "area" ? areas(solid, data, at) : columns(panel, solid, data, stacked, at, linkTo)),
    ...previous.flatMap((values) => trace(values, { class: "before", "stroke-dasharray": "3 3" }, data.beforePartial)),
    ...lines.flatMap((one) => trace(positions.map(one.at), { stroke: one.paint, "stroke-width": 2, "stroke-dasharray": one.dash })),
    ...(panel.reference_lines ?? []).flatMap((one) => [s("line", { x1: left, x2: left + box.w, y1: y(one.value), y2: y(one.value), class: "reference" }), words(one.label, left + box.w, y(one.value) - 4, { "text-anchor": "end", class: "soft" })]),
  ];
  const marks = positions.map((position, n) => ({ key: position, x: round(box.x + slot * n), y: box.y, w: slot, h: box.h, title: data.text(position) + (partial.has(position) ? NOT_WHOLE : ""), was: data.own[position] ?? null, cut: data.beforePartial.has(position), notes: [], rows: tips(panel, data, position, linkTo) }));
  for (const note of data.timed ? notes : []) {
    const n = positions.findLastIndex((position) => position <= note.ts);
    if (n < 0 || note.ts >= positions[n] + Math.min(data.step, 31 * 86400e3)) continue;
    marks[n].notes.push(`${moment(note.ts)}: ${note.text}`);
    shapes.push(s("line", { x1: x(n), x2: x(n), y1: box.y, y2: box.y + box.h, class: "note" }), words("⚑", x(n), box.y + 4, { "text-anchor": "middle", class: "flag" }));
  }
  const model = { box, marks, step: data.step, zoom: data.timed && Boolean(panel.id) };
  return frame(panel, size, model, ...top.shapes, ...grid, ...under.at(x), ...shapes);
}

/** Returns the lines of a tooltip: each visible series with its value, the one of before and its address. */
function tips(panel, data, position, linkTo) {
  return data.visible.flatMap((one) => {
    const [value, was] = [one.at(position), one.was(position)];
    if (value === null && (one.layer || was === null)) return [];
    const high = one.high?.at(position);
    const text = one.high ? `${shown(value, one.unit)} to ${shown(high, one.unit)}` : shown(value, one.unit);
    return [{ paint: one.paint, label: one.label, text, was: data.compared && !one.layer ? shown(was, one.unit) : "", change: change(value, was, one.unit)?.text ?? "", address: linkTo(panel.dimensions.length > 1 ? [position, one.name] : [position]) }];
  });
}

/** Draws the axis labels: some of the times, or all words, slanted if there is no room. */
function axis(data, size, left) {
  const { positions, timed, step } = data;
  const text = timed ? [] : positions.map((position) => clip(data.text(position), 18));
  const chars = timed ? (step < 20 * 3600e3 ? 12 : step === Infinity ? 5 : 9) : Math.max(...text.map((one) => one.length));
  const wide = chars * CHAR + 12;
  const slot = (size.width - left - 10) / Math.max(1, positions.length);
  const aslant = !timed && wide > slot && text.length <= 40;
  const every = aslant ? 1 : Math.max(1, Math.ceil(wide / slot));
  const height = aslant ? Math.min(80, wide * 0.5 + 14) : 22;
  const y = size.height - (aslant ? height - 12 : 8);
  const one = (x, label) => aslant ? words(clip(label, Math.floor(x / 5.8)), x + 4, y, { "text-anchor": "end", transform: `rotate(-30 ${round(x + 4)} ${round(y)})` }) : words(label, x, y, { "text-anchor": "middle" });
  const fits = (x) => aslant || x + wide / 2 - 6 <= size.width;
  let before;
  return { height, at: (x) => positions.map((position, n) => {
    if (n % every || !fits(x(n))) return null;
    const label = timed ? tick(position, step, before) : text[n];
    before = position;
    return one(x(n), label);
  }) };
}

function band(one, positions, x, y) {
  const known = positions.map((p, n) => [n, one.at(p), one.high.at(p)]).filter(([, a, b]) => a !== null && b !== null);
  const edge = [...known.map(([n, , b]) => `${x(n)},${y(b)}`), ...known.reverse().map(([n, a]) => `${x(n)},${y(a)}`)];
  return s("polygon", { points: edge.join(" "), fill: one.paint, "fill-opacity": one.opacity });
}

/** Draws a line through points; the part to an unfinished interval is dotted. */
function path(points, look) {
  const shapes = [];
  let run = [];
  const flush = (dotted) => {
    if (run.length > 1) shapes.push(s("polyline", { points: run.map(([x, y]) => `${x},${y}`).join(" "), fill: "none", ...look, ...(dotted ? { class: `${look.class ?? ""} partial`, "stroke-dasharray": "1 4" } : {}) }));
    run = [];
  };
  points.forEach((point, n) => {
    if (!point) return flush();
    const [last, next] = [points[n - 1], points[n + 1]];
    if (!last && !next) shapes.push(s("circle", { cx: point[0], cy: point[1], r: 3, fill: look.stroke ?? "var(--soft)", class: point[2] ? "partial" : null }));
    const dotted = last && (last[2] || point[2]);
    if (dotted) {
      flush();
      run = [last, point];
      flush(true);
      run = [point];
    } else run.push(point);
  });
  flush();
  return shapes;
}

function areas(solid, data, { x, y }) {
  const below = data.positions.map(() => 0);
  const last = data.positions.length - 1;
  const [from, to] = [data.partial.has(data.positions[0]) ? 1 : 0, data.partial.has(data.positions[last]) ? last - 1 : last];
  return solid.flatMap((one) => {
    const lower = data.positions.map((_, n) => `${x(n)},${y(below[n])}`);
    const upper = data.positions.map((p, n) => `${x(n)},${y((below[n] += Math.max(0, one.at(p) ?? 0)))}`);
    const part = (a, b, name) => b > a ? [s("polygon", { points: [...upper.slice(a, b + 1), ...lower.slice(a, b + 1).reverse()].join(" "), fill: one.paint, class: name })] : [];
    return [...part(from, to, "edge"), ...part(0, from, "edge partial"), ...part(to, last, "edge partial")];
  });
}

function columns(panel, solid, data, stacked, { x, y, slot }, linkTo) {
  const wide = Math.max(1, stacked || solid.length === 1 ? slot * 0.8 : (slot * 0.8) / solid.length);
  return data.positions.flatMap((position, n) => {
    const ends = { true: 0, false: 0 };
    return solid.flatMap((one, m) => {
      const value = one.at(position);
      if (!value) return [];
      const from = stacked ? ends[value > 0] : 0;
      const to = (ends[value > 0] = from + value);
      const begin = stacked || solid.length === 1 ? x(n) - wide / 2 : x(n) - slot * 0.4 + wide * m;
      const bar = s("rect", { x: round(begin), width: round(wide), y: y(Math.max(from, to)), height: Math.max(0.5, round(Math.abs(y(from) - y(to)))), fill: one.paint, stroke: one.paint, class: data.partial.has(position) ? "partial" : "edge", "data-series": one.name });
      return [linked(linkTo(panel.dimensions.length > 1 ? [position, one.name] : [position]), bar, `${data.text(position)}, ${one.label}: ${shown(value, one.unit)}`)];
    });
  });
}

/** Draws horizontal bars with a figure at the end of each; steps of a funnel show what is lost. */
function bars(panel, data, { width, height }, linkTo, { hidden }) {
  const { positions, visible } = data;
  const size = { width, height: Math.max(height, positions.length * 17 + 30) };
  const key = legend(data, size, hidden, data.compared ? [[`Thin bar: ${data.before}`, ""]] : []);
  const chars = Math.min(34, Math.floor((size.width * 0.35) / CHAR), Math.max(...positions.map((one) => data.text(one).length)));
  const left = chars * CHAR + 12;
  const values = visible.map((one) => positions.map(one.at));
  const forms = visible.map((one, m) => formOf(values[m], one.unit, true));
  const share = (value) => shown(value, "percent");
  const steps = panel.dimensions[0].kind === "steps" && visible.length === 1 && values[0].every((value, n) => n === 0 || value <= values[0][n - 1]) && values[0][0] > 0 ? values[0] : null;
  const end = (one, m, n) => {
    const [value, was] = [values[m][n], one.was(positions[n])];
    const lost = steps && n && size.width < 560 ? ` · ${share(steps[n - 1] ? value / steps[n - 1] - 1 : 0)}` : steps && n ? ` · ${share(value / steps[0])} of all, ${formOf(steps, one.unit)(value - steps[n - 1])} (${share(steps[n - 1] ? value / steps[n - 1] - 1 : 0)})` : "";
    return `${forms[m](value)}${lost}${data.compared ? ` ${change(value, was, one.unit)?.text ?? ""}` : ""}`;
  };
  const ends = positions.map((_, n) => visible.map((one, m) => end(one, m, n)));
  const room = Math.min(size.width * 0.5, Math.max(1, ...ends.flat().map((text) => text.length)) * CHAR + 10);
  const high = Math.max(...values.flat(), ...visible.flatMap((one) => positions.map(one.was)), 0) || 1;
  const slot = (size.height - key.height - 6) / positions.length;
  const thick = Math.max(2, Math.min(26, (slot * 0.75) / Math.max(1, visible.length)));
  const wide = (value) => Math.max(0.5, round((Math.abs(value ?? 0) / high) * (size.width - left - room)));
  const shapes = positions.map((position, n) => {
    const middle = key.height + slot * (n + 0.5);
    const name = words(clip(data.text(position), chars), left - 6, middle + 4, { "text-anchor": "end" });
    const rows = visible.flatMap((one, m) => {
      const top = round(middle - (thick * visible.length) / 2 + thick * m);
      const before = data.compared ? s("rect", { x: left, y: top + thick - 4, width: wide(one.was(position)), height: 4, class: "was" }) : null;
      return [s("rect", { x: left, y: top, width: wide(values[m][n]), height: round(thick), fill: position === OTHER && visible.length === 1 ? "var(--other)" : one.paint }), before, words(ends[n][m], left + Math.max(wide(values[m][n]), data.compared ? wide(one.was(position)) : 0) + 5, top + thick / 2 + 4, { class: "figure" })];
    });
    return linked(linkTo([position]), s("g", {}, name, ...rows));
  });
  const marks = positions.map((position, n) => ({ key: position, x: 0, y: key.height + slot * n, w: size.width, h: slot, title: data.text(position), was: null, notes: [], rows: tips(panel, data, position, linkTo).map((row) => ({ ...row, address: linkTo([position]) })) }));
  return frame(panel, size, { box: { x: 0, y: key.height, w: size.width, h: size.height }, marks, upright: true }, ...key.shapes, ...shapes);
}

/** Returns a heat map as a table: columns are the first dimension, rows the second; a second figure is the size of a row. */
function heatmap(panel, rows, linkTo) {
  const [across, down] = panel.dimensions;
  const columns = unique(rows.map((row) => row[0])).sort(inOrder);
  let lines = unique(rows.map((row) => row[1]));
  if (lines.every((line) => month(line) !== line)) lines = lines.sort();
  const values = new Map(rows.map((row) => [key([row[0], row[1]]), row]));
  const known = rows.map((row) => row[2]).filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  const [measure, size] = panel.measures;
  const form = formOf(known, measure.unit, true);
  const name = (dimension, value) => month(label(dimension.field, value));
  const cell = (column, line) => {
    const value = values.get(key([column, line]))?.[2] ?? null;
    if (value === null) return h("td", {});
    const share = high > low ? (value - low) / (high - low) : 1;
    const address = linkTo([column, line]);
    const made = h("td", { class: share > 0.5 ? "number on-dark" : "number on-light", title: `${across.label} ${name(across, column)}, ${down.label} ${name(down, line)}: ${shown(value, measure.unit)}` },
      address ? h("a", { href: address, "data-key": `${column} ${line}` }, form(value)) : form(value));
    made.style.setProperty("--heat", shade(share));
    return made;
  };
  const head = (text, more = {}) => h("th", { scope: "col", class: "number", ...more }, text);
  return h("table", { class: "heat" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, `${down.label} \\ ${across.label}`), size ? head(size.label) : null, columns.map((column) => head(name(across, column))))),
    h("tbody", {}, lines.map((line) => h("tr", {}, h("th", { scope: "row" }, name(down, line)),
      size ? h("td", { class: "number" }, shown(Math.max(...rows.filter((row) => row[1] === line).map((row) => row[3] ?? 0)), size.unit)) : null, columns.map((column) => cell(column, line))))));
}

/** Returns a colour from near white to dark blue; lightness alone shows the value. Text is dark up to the middle. */
function shade(share) {
  const steps = share > 0.5 ? [[0, 100, 160], [4, 44, 78], (share - 0.5) * 2] : [[235, 243, 250], [120, 178, 218], share * 2];
  return `rgb(${steps[0].map((one, n) => Math.round(one + (steps[1][n] - one) * steps[2])).join(",")})`;
}
