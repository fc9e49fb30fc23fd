// Figures on a phone: panels that stood side by side stand below each other, two in a row where they are small, and
// names that stood left of their rows stand above them. Nothing has to be scrolled sideways.
const [PANEL, ROW, BETWEEN, ABOVE, BELOW, LEFT, RIGHT] = [150, 46, 40, 30, 52, 36, 10];

const axis = (letter, place) => `${letter}axis${place === 0 ? "" : place + 1}`;
const short = (name, most) => (name.length <= most ? name : `…${name.slice(1 - most)}`);
const twoLines = (name) => name.replace(" − ", "<br>− ");  // of a difference
const named = (layout) => layout.yaxis?.ticktext?.some((name) => name.length > 12);

export function narrowed(layout, width) {
  const panels = layout.meta?.panels;
  const laid = panels ? arranged(layout, panels, width) : { ...layout, margin: { ...layout.margin, l: LEFT } };
  if (named(layout)) namesAbove(laid, panels ? panels.titles.length : 1);
  for (const name of Object.keys(laid)) if (name.startsWith("yaxis")) laid[name] = { ...laid[name], title: undefined };
  return laid;
}

function arranged(layout, { titles, shared }, width) {
  const rows = named(layout) ? layout.yaxis.ticktext.length : 0;
  const columns = rows || titles.length === 1 ? 1 : 2;
  const lines = Math.ceil(titles.length / columns);
  const panel = rows ? rows * ROW : PANEL;
  const [gap, across] = [shared ? 12 : LEFT + 4, width - LEFT - RIGHT];
  const [wide, high] = [(across - (columns - 1) * gap) / columns, lines * panel + (lines - 1) * (columns === 1 ? BELOW + ABOVE : BETWEEN)];
  const laid = { ...layout, height: high + ABOVE + BELOW, margin: { l: LEFT, r: RIGHT, t: ABOVE, b: BELOW } };
  laid.annotations = layout.annotations.map((each) => ({ ...each }));
  const title = { text: layout.meta.panels.x, xref: "paper", x: 0.5, yref: "paper", y: 0, yanchor: "top", yshift: -28, showarrow: false };
  laid.annotations.push({ ...title, font: { size: 12 } });
  titles.forEach((title, place) => {
    const [line, column] = [Math.floor(place / columns), place % columns];
    const left = (column * (wide + gap)) / across;
    const top = 1 - (line * (panel + (high - lines * panel) / Math.max(lines - 1, 1))) / high;
    const last = place + columns >= titles.length;
    const [x, y] = [axis("x", place), axis("y", place)];
    laid[x] = { ...layout[x], domain: [left, left + wide / across], showticklabels: columns === 1 || last, title: undefined };
    laid[y] = { ...layout[y], domain: [Math.max(top - panel / high, 0), top], showticklabels: !shared || column === 0 };
    Object.assign(laid.annotations[place], { x: left + wide / across / 2, y: top, text: short(title, columns === 1 ? 46 : 25), font: { size: 12 } });
  });
  return laid;
}

function namesAbove(laid, panels) {
  const added = [];
  for (let place = 0; place < panels; place += 1) {
    const own = axis("y", place);
    const { tickvals, ticktext } = laid[own];
    laid[own] = { ...laid[own], showticklabels: false };
    const where = own.replace("axis", "");
    ticktext.forEach((text, row) => added.push({
      text: twoLines(text), align: "left", y: tickvals[row], yref: where, x: 0, xref: `${where.replace("y", "x")} domain`,
      xanchor: "left", yanchor: "bottom", yshift: 10, showarrow: false, font: { size: 11 },
    }));
  }
  laid.annotations = [...(laid.annotations ?? []), ...added];
  laid.margin = { ...laid.margin, l: 12 };
  if (!laid.meta?.panels) laid.height = 120 + (twoLines(laid.yaxis.ticktext[0]).includes("<br>") ? ROW + 14 : ROW) * laid.yaxis.ticktext.length;
}
