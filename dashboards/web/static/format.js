// Formats values for display. Times are those of the shop's zone, identifiers are shown in the words of the declaration.

const languages = { locale: "en", currency: "", decimals: 2 };
let forms = made();
let words = new Map();
let helps = {};

/** Takes the shop's locale, currency and its decimals, by which numbers are written. Amounts are rounded by the server. */
export function writeNumbersOf({ locale, currency, decimals }) {
  Object.assign(languages, { locale: locale || "en", currency, decimals });
  forms = made();
}

/** Takes the words for values: field -> value -> words; the field "" is for all fields. `meanings` are their definitions. */
export function wordsAre(labels, meanings) {
  helps = meanings;
  words = new Map(Object.entries(labels ?? {}).map(([field, known]) => [field, new Map(Object.entries(known))]));
}

/** Returns the definition of a value of a field, such as what an action is. */
export function help(field, value) {
  return field && Object.hasOwn(helps[field] ?? {}, value) ? helps[field][value] : null;
}

const IDENTIFIERS = ["recommended_action", "churn_reasons", "feature", "payment_method", "channel", "acquisition_channel"];

/** Returns the words for a value of a field. Names, such as those of categories, are unchanged. */
export function label(field, value) {
  if (value === null || value === undefined) return NOTHING;
  if (Array.isArray(value)) return value.map((one) => label(field, one)).join(", ");
  const known = words.get(field)?.get(String(value)) ?? words.get("")?.get(String(value));
  if (known !== undefined || !IDENTIFIERS.includes(field)) return known ?? shown(value, "text");
  const text = String(value).replaceAll("_", " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function number(options) {
  const form = new Intl.NumberFormat(languages.locale, { numberingSystem: "latn", ...options });
  return { format: (value) => form.format(value).replace("-", "\u2212") };
}

function made() {
  const { currency, decimals } = languages;
  const style = currency ? { style: "currency", currency } : {};
  const exact = (digits) => number({ ...style, minimumFractionDigits: digits, maximumFractionDigits: digits });
  return {
    whole: number({ maximumFractionDigits: 0 }),
    few: number({ maximumSignificantDigits: 4 }),
    share: number({ style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }),
    short: number({ notation: "compact", maximumSignificantDigits: 3 }),
    amount: exact(decimals),
    wholeAmount: exact(0),
    shortAmount: number({ ...style, notation: "compact", maximumSignificantDigits: 3 }),
  };
}

export const NOTHING = "–";
export const NOT_WHOLE = " (incomplete)";

/** Formats a value by its unit; `short` for axes and tiles. */
export function shown(value, unit, short = false) {
  if (value === null || value === undefined) return NOTHING;
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "Yes" : "No";
  if (typeof value !== "number") return String(value);
  const size = Math.abs(value);
  switch (unit) {
    case "count": return short && size >= 1e6 ? forms.short.format(value) : number_of(value);
    case "whole": return short && size >= 1e6 ? forms.short.format(value) : forms.whole.format(value);
    case "money": return (short && size >= 1e6 ? forms.shortAmount : short && size >= 1e3 ? forms.wholeAmount : forms.amount).format(value);
    case "percent": return forms.share.format(value);
    case "seconds": return duration(value * 1000);
    case "milliseconds": return duration(value);
    case "days": return value && size < 1 ? duration(value * DAY) : `${number_of(value, 1)} d`;
    case "ago": return ago(value * DAY);
    case "bytes": return bytes(value);
    case "per_second": return `${short ? forms.short.format(value) : number_of(value)}/s`;
    case "time": return moment(value);
    case "text": return String(value);
    default: return number_of(value);
  }
}

/** Returns the format of all values of a chart or column: one precision for all of them. */
export function formOf(values, unit, short = false) {
  const known = values.filter((value) => typeof value === "number").map(Math.abs);
  const high = Math.max(0, ...known);
  const alike = (form) => (value) => (typeof value === "number" ? form.format(value) : NOTHING);
  if (unit === "money" && short && high >= 1e3) return alike(high >= 1e6 ? forms.shortAmount : forms.wholeAmount);
  if (!unit || ["count", "whole", "number"].includes(unit)) {
    if (short && high >= 1e6) return alike(forms.short);
    const digits = unit === "whole" || high >= 1e3 ? 0 : high >= 1 ? 2 : 3;
    if (high < 0.01 && high) return alike(forms.few);
    if (!known.every(Number.isInteger)) return alike(number({ minimumFractionDigits: digits, maximumFractionDigits: digits }));
  }
  return (value) => shown(value, unit, short);
}

/** Returns the change from `was` to `value` as { rate, text }; of shares it is in percentage points. */
export function change(value, was, unit) {
  if (typeof value !== "number" || typeof was !== "number") return null;
  const rate = unit === "percent" ? (value - was) * 100 : was ? (value - was) / Math.abs(was) : value ? Infinity : 0;
  const sign = rate > 0 ? "▲" : rate < 0 ? "▼" : "±";
  const size = Math.abs(rate);
  return { rate, text: `${sign} ${unit === "percent" ? `${number({ minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(size)} pp` : size === Infinity ? "new" : forms.share.format(size)}` };
}

function number_of(value, digits = 2) {
  if (Number.isInteger(value)) return forms.whole.format(value);
  return Math.abs(value) < 1 ? forms.few.format(value) : number({ maximumFractionDigits: digits }).format(value);
}

const DAY = 86400e3;

/** Formats milliseconds in the two largest units. */
export function duration(ms) {
  const size = Math.abs(ms);
  if (size < 1000) return `${number_of(ms, 0)} ms`;
  const units = [["d", DAY], ["h", 3600e3], ["min", 60e3], ["s", 1e3]];
  const largest = units.findIndex(([, one]) => size >= one);
  const [name, unit] = units[largest];
  if (name === "s") return `${number_of(ms / 1000, 1)} s`;
  const next = units[largest + 1];
  const rest = Math.floor((size % unit) / next[1]);
  return `${ms < 0 ? "\u2212" : ""}${Math.floor(size / unit)} ${name}${rest ? ` ${rest} ${next[0]}` : ""}`;
}

function bytes(value) {
  const step = Math.min(4, Math.floor(Math.log2(Math.max(value, 1)) / 10));
  return `${number_of(value / 1024 ** step, 1)} ${["B", "KiB", "MiB", "GiB", "TiB"][step]}`;
}

let zone = "UTC";
let clock = clockOf(zone);

/** Sets the zone of all times, an IANA name. A browser that does not know it shows UTC. */
export function zoneIs(name) {
  try {
    [clock, zone] = [clockOf(name), name];
  } catch {
    [clock, zone] = [clockOf("UTC"), "UTC"];
  }
}

/** Returns the zone of all times. */
export function zoneName() {
  return zone;
}

function clockOf(name) {
  return new Intl.DateTimeFormat("en-US", { timeZone: name, hourCycle: "h23", year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" });
}

function parts(ms) {
  const part = Object.fromEntries(clock.formatToParts(ms).map(({ type, value }) => [type, value]));
  const month = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split(" ")[part.month - 1];
  return { ...part, month, iso: `${part.year.padStart(4, "0")}-${part.month}-${part.day}`, date: `${Number(part.day)} ${month}`, time: `${part.hour}:${part.minute}` };
}

/** Formats a day as 2026-05-20. */
export function day(ms) {
  return parts(ms).iso;
}

/** Formats a time as 20 May 2026, 12:34. */
export function moment(ms) {
  const { date, year, time } = parts(ms);
  return `${date} ${year}, ${time}`;
}

/** Returns the shortest distance of the intervals of a time axis, ms. */
export function stepOf(positions) {
  return Math.min(...positions.slice(1).map((position, n) => position - positions[n]), Infinity);
}

/** Formats an interval of an axis by its length. */
export function interval(ms, step) {
  const { date, month, year } = parts(ms);
  if (step < 20 * 3600e3 || step === Infinity) return moment(ms);
  return step > 20 * DAY ? `${month} ${year}` : `${step > 5 * DAY ? "Week of " : ""}${date} ${year}`;
}

/** Formats a tick of a time axis; it has the year or day where this differs from the tick `before`. */
export function tick(ms, step, before) {
  const [now, last] = [parts(ms), before === undefined ? null : parts(before)];
  if (step > 20 * DAY && step < Infinity) return `${now.month} ${now.year}`;
  if (step >= 20 * 3600e3) return last && last.year !== now.year ? `${now.date} ${now.year}` : now.date;
  return last && last.date !== now.date ? `${now.date} ${now.time}` : now.time;
}

/** Formats a month such as 2025-11 as Nov 2025; other values are unchanged. */
export function month(value) {
  return /^\d{4}-(0[1-9]|1[0-2])$/.test(value) ? interval(Date.parse(`${value}-15T12:00Z`), 30 * DAY) : value;
}

/** Formats a length of time in words: 15 days. */
export function length(ms) {
  return ms >= 2 * DAY ? `${Math.round(ms / DAY)} days` : duration(Math.max(0, ms));
}

/** Formats an age in words. */
export function ago(ms) {
  return ms < 1500 ? "just now" : `${length(ms)} ago`;
}
