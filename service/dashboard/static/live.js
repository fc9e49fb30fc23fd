// Follows jobs that are under way by server-sent events: progress as it comes, a fresh page once one has begun or ended.
function follow(place) {
  const source = new EventSource(place.dataset.events);
  const put = (name, text) => { place.querySelector(`[data-${name}]`).textContent = text; };
  source.addEventListener("progress", (message) => {
    const bar = place.querySelector("progress");  // another one wherever the page was made fresh
    if (!bar) return location.reload();
    const { stage, done, total, unit, eta_seconds: left } = JSON.parse(message.data).data;
    bar.max = total;
    bar.value = done;
    put("stage", stage);
    put("done", `${done.toLocaleString("en")} of ${total.toLocaleString("en")} ${unit}${total === 1 ? "" : "s"}`);
    put("eta", left ? `, about ${span(left)} left` : "");
  });
  source.addEventListener("end", () => { source.close(); location.reload(); });
  // a browser leaves a stream for good that is answered by anything but a stream: by a server that restarts, or by 204
  // where the job ended while nobody was connected; one begun anew tells how it stands
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) setTimeout(() => follow(place), 3000);
  });
}

// In the server's words, in which the page is made fresh.
function span(seconds) {
  const whole = Math.round(seconds);
  const [days, hours, minutes, rest] = [whole / 86400, (whole % 86400) / 3600, (whole % 3600) / 60, whole % 60].map(Math.floor);
  const told = days ? [[days, "d"]] : hours ? [[hours, "h"], [minutes, "min"]] : [[minutes, "min"], [minutes < 10 ? rest : 0, "s"]];
  return told.filter(([amount]) => amount).map((part) => part.join(" ")).join(" ") || "0 s";
}

document.querySelectorAll("[data-events]").forEach(follow);
