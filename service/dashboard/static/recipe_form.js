// Draws a recipe's form again on the server where a choice changes its fields or a button asks for it, and its YAML as
// it is filled in. All of it goes on within the page, so that nothing typed is lost where the server is slow, refuses or
// is away. Without it every such choice has a button, and buttons send the form.
const AWAY = "The server does not answer. Nothing that was typed is lost: try again in a moment.";
const LATER = "What was typed before is not back yet: reload this page in a moment.";
const LONGEST = 120_000;  // a server that is away may not even refuse
const UNSEEN = 300;  // what is done sooner needs no word

const recipe = document.querySelector("[data-recipe]");
const filledIn = () => new URLSearchParams(new FormData(recipe)).toString();

// The way back, and a reload, lead to what was typed: it is kept with the page in the browser's history.
const keep = () => history.replaceState({ draft: filledIn() }, "");

async function ask(action, draft) {
  const body = new URLSearchParams(draft);
  body.set("action", action);
  const signal = AbortSignal.timeout(LONGEST);
  // not recipe.action: its buttons are called so
  const answer = await fetch(recipe.getAttribute("action"), { method: "POST", body, signal, headers: { accept: "text/html" } });
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { page, form: page.querySelector("[data-recipe]"), job: answer.redirected && answer.url };
}

function show(form) {
  const opened = [...recipe.querySelectorAll("details[open]")].map((each) => each.id);
  recipe.replaceChildren(...form.childNodes);
  opened.forEach((id) => document.getElementById(id)?.setAttribute("open", ""));
  keep();
}

// In place of what a check says.
function refuse(said) {
  const failure = document.createElement("p");
  failure.className = "failure";
  failure.append(...said);
  const place = document.getElementById("checked");
  place.replaceChildren(failure);
  place.focus();
}

// A button that was really disabled would lose the focus.
function say(word, disabled) {
  document.getElementById("busy").textContent = word;
  recipe.querySelectorAll("button").forEach((each) => { each.ariaDisabled = disabled; });
}

let busy = false;

// One thing at a time. What is filled in while the server is at work is sent to it as well, but a job is started once.
async function redraw(asked, action, settled) {
  if (busy) return;
  busy = true;
  const late = setTimeout(say, UNSEEN, asked.dataset.redraws, "true");
  const before = document.activeElement;
  let word = "";
  try {
    let sent, found;
    do {
      keep();
      found = await ask(action, (sent = filledIn()));
      if (found.job) {
        word = "started";
        return location.assign(found.job);
      }
      if (action === "submit") action = "check";
    } while (found.form && sent !== filledIn());
    if (!found.form) return refuse(found.page.querySelector("main .lede").childNodes);
    // whoever went on to another field stays there
    const { id, selectionStart, selectionEnd } = document.activeElement;
    const moved = document.activeElement !== before && id;
    show(found.form);
    const place = document.getElementById(moved || settled);
    place?.focus();
    if (moved && selectionStart != null) place?.setSelectionRange(selectionStart, selectionEnd);
  } catch {
    refuse([AWAY]);
  } finally {
    clearTimeout(late);
    say(word, null);
    busy = false;
  }
}

// The fields stay as they are: somebody is filling them in.
async function redrawYaml() {
  const before = document.getElementById("yaml");
  const { form } = await ask("draw", filledIn());
  const text = document.getElementById("yaml");
  // the whole form was drawn meanwhile or is about to be, or somebody writes there
  if (busy || text !== before || document.activeElement === text) return;
  for (const id of ["yaml", "drawn"]) document.getElementById(id).value = form.querySelector(`#${id}`).value;
}

recipe.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-redraws]");
  if (!button) return;
  event.preventDefault();
  redraw(button, button.value, ["check", "read", "submit"].includes(button.value) ? "checked" : button.id);
});

recipe.addEventListener("change", (event) => {
  keep();
  if (event.target.id === "yaml") return;
  if (event.target.matches("select[data-redraws]")) redraw(event.target, "draw", event.target.id);
  else redrawYaml().catch(() => {});
});

const { draft } = history.state ?? {};
if (draft) ask("draw", draft).then(({ form }) => show(form)).catch(() => refuse([LATER]));
