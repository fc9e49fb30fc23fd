// Draws a recipe's form again on the server where a choice changes its fields, and its YAML as it is filled in.
// Without it every such choice has a button.
const where = () => document.querySelector("[data-recipe]");

const filledIn = () => new URLSearchParams(new FormData(where()));

// The way back, and a reload, lead to what was typed: it is kept with the page in the browser's history.
const keep = () => history.replaceState({ draft: filledIn().toString() }, "");

async function ask(action, body = filledIn()) {
  const form = where();
  body.set("action", action);
  // not form.action: its buttons are called so
  const answer = await fetch(form.getAttribute("action"), { method: "POST", body, headers: { accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return page.querySelector("[data-recipe]") ?? Promise.reject(new Error("no form came back"));
}

async function redrawForm(action, focus, body) {
  const now = await ask(action, body);
  const opened = [...where().querySelectorAll("details[open]")].map((each) => each.id);
  where().replaceChildren(...now.childNodes);
  opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  document.getElementById(focus)?.focus();
  keep();
}

// The fields stay as they are: somebody is filling them in.
async function redrawYaml() {
  const before = document.getElementById("yaml");
  const now = await ask("draw");
  const text = document.getElementById("yaml");
  // the whole form was drawn meanwhile, or somebody writes there
  if (text !== before || document.activeElement === text) return;
  for (const id of ["yaml", "drawn"]) document.getElementById(id).value = now.querySelector(`#${id}`).value;
}

where().addEventListener("click", (event) => {
  const button = event.target.closest("button[data-redraws]");
  if (!button) return;
  event.preventDefault();
  const settled = ["check", "read"].includes(button.value) ? "checked" : button.id;
  redrawForm(button.value, settled).catch(() => where().requestSubmit(button));
});

where().addEventListener("change", (event) => {
  keep();
  if (event.target.id === "yaml") return;
  if (event.target.matches("select[data-redraws]")) redrawForm("draw", event.target.id).catch(() => where().submit());
  else redrawYaml().catch(() => {});
});

if (history.state?.draft) redrawForm("draw", "", new URLSearchParams(history.state.draft)).catch(() => {});
