// Creates elements. Text is always set as text, so no value of a record can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Creates an HTML element; attributes that begin with `on` are listeners. */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** Creates an SVG element. */
export function s(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** Replaces the children of an element unless they look the same; keeps focus and scroll position. */
export function put(parent, ...children) {
  const made = h("div", {}, ...children);
  if (parent.innerHTML === made.innerHTML && parent.dataset.put) return;
  const held = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const [top, left] = [parent.scrollTop, parent.scrollLeft];
  parent.replaceChildren(...made.childNodes);
  parent.dataset.put = "yes";
  [parent.scrollTop, parent.scrollLeft] = [top, left];
  if (held) parent.querySelector(`[data-key="${CSS.escape(held)}"]`)?.focus({ preventScroll: true });
}
