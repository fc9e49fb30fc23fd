// A link to something that is folded up unfolds it.
function unfold() {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (!target || target.tagName !== "DETAILS") return;
  target.open = true;
  target.scrollIntoView();
}
unfold();
addEventListener("hashchange", unfold);
