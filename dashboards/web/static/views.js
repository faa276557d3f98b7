// Saved views: addresses of this page under a name, kept by the server.

import { ask } from "./address.js";
import { h } from "./dom.js";

/** Creates the list of saved views, with what changes it if the page can write; every change is sent to the server and the list loaded again. */
export async function saved(say, writable) {
  const list = h("div", {}, h("p", {}, "Loading…"));
  const send = async (path, body) => {
    await ask(path, "", null, body);
    await load();
  };
  const attempt = (act, done) => async (event) => {
    event.preventDefault();
    try {
      await act(event);
      say(done);
    } catch (error) {
      list.prepend(h("p", { class: "wrong", role: "alert" }, `${error.message} ${error.remedy ?? ""}`));
    }
  };
  async function load() {
    const { views } = await ask("views", "");
    const name = h("input", { required: true, maxlength: 100, "aria-label": "Name of the view", placeholder: "Name of this view" });
    const save = attempt(() => name.reportValidity() && send("views", { name: name.value, address: location.search }), "View saved");
    list.replaceChildren(...views.map((one) => h("p", {}, h("a", { href: one.address }, one.name),
      writable && h("button", { type: "button", "aria-label": `Rename view ${one.name}`, onclick: attempt(async () => {
        const other = prompt("New name of the view", one.name);
        if (other && other !== one.name) {
          await send("views", { name: other, address: one.address });
          await send("views/delete", { id: one.id });
        }
      }, "View renamed") }, "Rename"),
      writable && h("button", { type: "button", "aria-label": `Delete view ${one.name}`, onclick: attempt(() => send("views/delete", { id: one.id }), "View deleted") }, "Delete"))),
    views.length ? "" : h("p", {}, "No saved views yet."), writable ? h("p", {}, name, h("button", { type: "button", onclick: save }, "Save this view")) : "");
  }
  await load();
  return list;
}
