// Formats values for display. Times are those of the shop's zone.

const languages = { locale: "en", currency: "", decimals: 2 };
let forms = made();

/** Takes the shop's locale, currency and its decimals, by which numbers are written. Amounts are rounded by the server. */
export function writeNumbersOf({ locale, currency, decimals }) {
  Object.assign(languages, { locale: locale || "en", currency, decimals });
  forms = made();
}

function number(options) {
  return new Intl.NumberFormat(languages.locale, { numberingSystem: "latn", ...options });
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
export const NOT_WHOLE = " (not whole: cut, or not over)";

/** Formats a value by its unit; `short` for axes and tiles. */
export function shown(value, unit, short = false) {
  if (value === null || value === undefined) return NOTHING;
  if (Array.isArray(value)) return value.join(", ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  switch (unit) {
    case "count": return short && Math.abs(value) >= 1e6 ? forms.short.format(value) : number_of(value);
    case "whole": return short && Math.abs(value) >= 1e6 ? forms.short.format(value) : forms.whole.format(value);
    case "money": return short && Math.abs(value) >= 1e5 ? forms.shortAmount.format(value) : forms.amount.format(value);
    case "percent": return forms.share.format(value);
    case "seconds": return duration(value * 1000);
    case "milliseconds": return duration(value);
    case "days": return `${number_of(value, 1)} d`;
    case "bytes": return bytes(value);
    case "per_second": return `${short ? forms.short.format(value) : number_of(value)}/s`;
    case "time": return instant(value);
    case "text": return String(value);
    default: return number_of(value);
  }
}

function number_of(value, digits = 2) {
  if (Number.isInteger(value)) return forms.whole.format(value);
  return Math.abs(value) < 1 ? forms.few.format(value) : number({ maximumFractionDigits: digits }).format(value);
}

/** Formats a mark of an axis; whole amounts of money have no cents. */
export function marked(value, unit) {
  return unit === "money" && Number.isInteger(value) && Math.abs(value) < 1e5 ? forms.wholeAmount.format(value) : shown(value, unit, true);
}

/** Formats milliseconds in the two largest units. */
export function duration(ms) {
  if (Math.abs(ms) < 1000) return `${number_of(ms, 0)} ms`;
  const units = [["d", 86400e3], ["h", 3600e3], ["min", 60e3], ["s", 1e3]];
  const largest = units.findIndex(([, size]) => ms >= size);
  const [name, size] = units[largest < 0 ? 3 : largest];
  const count = Math.floor(ms / size);
  const next = units[largest + 1];
  const rest = next ? Math.floor((ms - count * size) / next[1]) : 0;
  if (name === "s") return `${number_of(ms / 1000, 1)} s`;
  return rest ? `${count} ${name} ${rest} ${next[0]}` : `${count} ${name}`;
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

/** Formats a time as 2026-05-20 12:34. */
export function instant(ms) {
  const part = Object.fromEntries(clock.formatToParts(ms).map(({ type, value }) => [type, value]));
  return `${part.year.padStart(4, "0")}-${part.month}-${part.day} ${part.hour}:${part.minute}`;
}

/** Formats a day as 2026-05-20. */
export function day(ms) {
  return instant(ms).slice(0, 10);
}

/** Formats a tick of a time axis of length `spanMs`. */
export function tick(ms, spanMs) {
  const iso = instant(ms);
  if (!spanMs) return iso;
  if (spanMs <= 2 * 86400e3) return iso.slice(11, 16);
  return spanMs <= 800 * 86400e3 ? iso.slice(5, 10) : iso.slice(0, 7);
}

/** Formats an age in words. */
export function ago(ms) {
  return ms < 1500 ? "just now" : `${duration(Math.max(0, ms))} ago`;
}
