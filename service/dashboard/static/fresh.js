// Keeps the parts of a page that are marked data-fresh as the server would show them now. Pages read well without it.
const AWAY = "The server does not answer: this is how things stood. The page goes on by itself.";
const away = document.createElement("p");
away.className = "away";
away.setAttribute("role", "status");

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { accept: "text/html" } }).catch(() => null);
  const none = !answer || answer.status === 429 || answer.status >= 500;
  away.textContent = none ? AWAY : "";
  if (none) return;
  if (answer.redirected || !answer.ok) return location.reload();  // to the login, or to what is wrong
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.querySelectorAll("[data-fresh]").forEach((part) => renew(part, page.getElementById(part.id)));
  const figures = document.querySelector("[data-fresh-figures]");
  if (figures) redraw(figures, page.getElementById(figures.id));
}

// Child by child, and only where something changed: selections and focus elsewhere survive.
function renew(part, now) {
  if (!now) return;
  const atEnd = part.scrollHeight - part.scrollTop - part.clientHeight < 8;
  part.hidden = now.hidden;
  const [old, fresh] = [[...part.childNodes], [...now.childNodes]];
  fresh.forEach((node, index) => {
    if (index >= old.length) part.append(node);
    else if (!old[index].isEqualNode(node)) swap(old[index], node);
  });
  old.slice(fresh.length).forEach((node) => node.remove());
  if ("end" in part.dataset && atEnd) part.scrollTop = part.scrollHeight;
}

function swap(old, node) {
  const link = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  old.replaceWith(node);
  if (link) node.querySelector(`[href="${CSS.escape(link)}"]`)?.focus();
}

// A figure is given its new numbers in place; what its reader has hidden stays hidden. One that is new is drawn by the
// page's own scripts, so the page begins anew.
function redraw(figures, now) {
  const names = (where) => [...where.querySelectorAll("[data-figure]")].map((each) => each.dataset.figure).join();
  if (names(figures) !== names(now)) return location.reload();
  for (const figure of figures.querySelectorAll("[data-figure]")) {
    const [old, fresh] = [figure.querySelector("script"), now.querySelector(`#${CSS.escape(figure.dataset.figure)}`)];
    if (old.textContent === fresh.textContent) continue;
    old.textContent = fresh.textContent;
    const canvas = figure.querySelector(".canvas");
    const { data } = JSON.parse(fresh.textContent);
    data.forEach((trace, index) => { trace.visible = canvas.data[index]?.visible ?? true; });
    Plotly.react(canvas, data, canvas.layout, { displayModeBar: false, responsive: true });
  }
}

const log = document.querySelector("[data-end]");
if (log) log.scrollTop = log.scrollHeight;
const pause = 1000 * (document.querySelector("[data-refresh]")?.dataset.refresh ?? 0);

const LONGEST = 30_000;  // a server that was just started answers slowly, once

// One after another, and resting fifteen times as long as the answer took: who watches costs a busy server little.
async function again() {
  const begun = performance.now();
  await refresh().catch(() => {});
  setTimeout(again, Math.min(Math.max(pause, 15 * (performance.now() - begun)), LONGEST));
}
if (pause) {
  document.querySelector("main").prepend(away);
  setTimeout(again, pause);
}
