// How a figure is laid out where it is shown, by the pages and by the report: a legend of its own below it and, on a phone,
// panels that stood side by side below each other, two in a row where they are small, and names that stood left of their
// rows above them. Nothing has to be scrolled sideways.
const [PANEL, ROW, BETWEEN, ABOVE, BELOW, LEFT, RIGHT, LETTER] = [150, 46, 40, 30, 52, 36, 10, 7.2];

const axis = (letter, place) => `${letter}axis${place === 0 ? "" : place + 1}`;
const short = (name, most) => (name.length <= most ? name : `…${name.slice(1 - most)}`);
const twoLines = (name) => name.replace(" − ", "<br>− ");  // of a difference
const named = (layout) => layout.yaxis?.ticktext?.some((name) => name.length > 12);

// The layout for a place so many pixels wide, without the room that plotly's own legend would take.
export function fitted(layout, width) {
  const room = layout.meta?.legend ?? 0;
  const wide = { ...layout, margin: { ...layout.margin, t: layout.margin.t - room } };
  if (layout.height) wide.height = layout.height - room;
  if (width < Math.max(560, layout.meta?.min_width ?? 0)) return narrowed(wide, width);
  return layout.meta?.panels && width < Infinity ? { ...wide, annotations: titled(layout, width) } : wide;
}

// Names of panels as long as there is room for them.
function titled({ annotations, margin, meta, ...axes }, width) {
  return annotations.map((each, place) => {
    if (place >= meta.panels.titles.length) return each;
    const [left, right] = axes[axis("x", place)].domain;
    const most = Math.floor(((width - margin.l - margin.r) * (right - left)) / LETTER);
    return { ...each, text: short(meta.panels.titles[place], most) };
  });
}

// A line as it is drawn, or a point where points stand alone.
function sample({ mode, line, marker, error_x, error_y }) {
  if (mode !== "markers" || error_x || error_y) return ["M0 5H26", `stroke-width: ${line?.width ?? 2}`];
  return marker.symbol === "x" ? ["M10 2l6 6m0-6l-6 6", "stroke-width: 2"] : ["M13 5h0", "stroke-width: 7; stroke-linecap: round"];
}

// The legend in HTML: it wraps, is read aloud, and each entry hides or shows its line.
export function legend(canvas, data) {
  const named = data.filter((trace) => trace.name && trace.showlegend !== false);
  named.sort((one, other) => (one.legendrank ?? 1000) - (other.legendrank ?? 1000));
  return named.map((trace) => {
    const entry = document.createElement("button");
    const dash = { dash: "6 4", dot: "1.5 3", dashdot: "6 3 1.5 3", longdash: "10 4" }[trace.line?.dash] ?? "none";
    entry.type = "button";
    entry.setAttribute("aria-pressed", "true");
    const [path, stroke] = sample(trace);
    entry.innerHTML = `<svg viewBox="0 0 26 10" width="26" height="10" aria-hidden="true"><path d="${path}"/></svg>`;
    entry.querySelector("path").style.cssText = `stroke: ${trace.line?.color ?? trace.marker?.color}; ${stroke}; stroke-dasharray: ${dash}`;
    entry.append(trace.name);
    entry.addEventListener("click", () => {
      const shown = entry.getAttribute("aria-pressed") !== "true";
      entry.setAttribute("aria-pressed", String(shown));
      const group = data.flatMap((other, index) => (other.legendgroup === trace.legendgroup ? [index] : []));
      Plotly.restyle(canvas, { visible: shown }, group);
    });
    return entry;
  });
}

function narrowed(layout, width) {
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
  const own = layout.meta.panels.x === "";  // each panel has an axis of its own
  const between = columns === 1 || own ? BELOW + ABOVE : BETWEEN;
  const [wide, high] = [(across - (columns - 1) * gap) / columns, lines * panel + (lines - 1) * between];
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
    const dates = layout[x].type === "date" ? { nticks: 2, tickangle: 0 } : {};
    laid[x] = { ...layout[x], ...dates, domain: [left, left + wide / across], showticklabels: columns === 1 || own || last, title: own ? layout[x].title : undefined };
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
