// Draws the figures of a page: those that came with it, and others once they come near the screen.
// It stands before plotly.js in the page, so that figures are on their way while that is read.
import { fitted, legend } from "./laid_out.js";

const ready = new Promise((done) => {
  if (document.readyState === "complete") done();
  else addEventListener("DOMContentLoaded", done);
});
const drawn = new Map();  // figure element -> {data, layout}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Figures come without fonts and background; those follow the page, in light and in dark.
function themed(layout) {
  const axis = { gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--faint"), tickcolor: colour("--line") };
  const dressed = {
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { ...layout.font, family: getComputedStyle(document.body).fontFamily, color: colour("--muted"), size: 13 },
    hoverlabel: { bgcolor: colour("--raised"), bordercolor: colour("--line"), font: { color: colour("--ink") } },
  };
  for (const name of Object.keys(layout)) {
    if (!/^[xy]axis\d*$/.test(name)) continue;
    dressed[name] = { ...layout[name], ...axis, title: { ...layout[name].title, font: { size: 13 }, standoff: 14 } };
  }
  return dressed;
}

// As wide as its place, or as ``paper``.
function draw(figure, paper) {
  const { data, layout } = drawn.get(figure);
  const canvas = figure.querySelector(".canvas");
  const fitting = fitted(layout, paper ?? figure.clientWidth);
  canvas.style.height = fitting.height ? `${fitting.height}px` : "";
  const dressed = { ...themed(fitting), width: paper, showlegend: false };
  Plotly.react(canvas, data, dressed, { displayModeBar: false, responsive: !paper });
  const list = figure.querySelector(".legend");
  if (layout.showlegend !== false && list.childElementCount === 0) list.append(...legend(canvas, data));
}

function element(tag, className, text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

// One drawing of a section: the first takes the heading that is there, each further one brings its own.
function place(section, drawing, first) {
  const heading = first ? section.querySelector("h2, h3") : section.insertBefore(element("h2", ""), section.querySelector(".waiting"));
  if (heading && section.dataset.heading !== "fixed") heading.textContent = drawing.title;
  const figure = element("figure", "figure");
  const canvas = element("div", "canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${drawing.title}. ${drawing.caption}`);
  figure.append(canvas, element("figcaption", "legend"));
  const waiting = section.querySelector(".waiting");
  section.insertBefore(element("p", "muted", drawing.caption), waiting);
  section.insertBefore(figure, waiting);
  drawn.set(figure, drawing.figure);
  draw(figure);
}

async function load(section) {
  const waiting = section.querySelector(".waiting");
  waiting.replaceChildren();
  section.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(section.dataset.figures);
    if (!answer.ok) throw new Error(`${answer.status}`);
    const { drawings } = await answer.json();
    await ready;
    if (drawings.length === 0) return section.remove();
    drawings.forEach((drawing, index) => place(section, drawing, index === 0));
    waiting.remove();
  } catch (error) {
    const again = element("button", "", "Try again");
    again.type = "button";
    again.addEventListener("click", () => load(section));
    waiting.replaceChildren(`This figure did not come (${error.message}). `, again);
  } finally {
    section.removeAttribute("aria-busy");
  }
}

const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    load(target);
  }
}, { rootMargin: "700px 0px" });
document.querySelectorAll("[data-figures]").forEach((section) => near.observe(section));

ready.then(() => document.querySelectorAll("[data-figure]").forEach((figure) => {
  drawn.set(figure, JSON.parse(document.getElementById(figure.dataset.figure).textContent));
  draw(figure);
}));
for (const change of ["(prefers-color-scheme: dark)", "(max-width: 720px)"]) {
  matchMedia(change).addEventListener("change", () => drawn.forEach((_, figure) => draw(figure)));
}
const PAPER = 680;  // of A4, within its margins
for (const [moment, width] of [["beforeprint", PAPER], ["afterprint", undefined]]) {
  addEventListener(moment, () => {
    document.documentElement.classList.toggle("printing", Boolean(width));
    drawn.forEach((_, figure) => draw(figure, width));
  });
}
