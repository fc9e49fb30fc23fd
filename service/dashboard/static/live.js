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

function span(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

document.querySelectorAll("[data-events]").forEach(follow);
