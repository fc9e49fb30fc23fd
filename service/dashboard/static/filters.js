// Addresses that say only what was asked for: empty fields and the usual choice of columns are left out.
document.querySelectorAll("form[data-tidy]").forEach((form) => form.addEventListener("formdata", ({ formData }) => {
  for (const [name, value] of [...formData.entries()]) if (value === "") formData.delete(name);
  for (const usual of form.querySelectorAll("select option[data-usual]")) {
    if (formData.get(usual.parentElement.name) === usual.value) formData.delete(usual.parentElement.name);
  }
  const ticks = [...form.querySelectorAll("input[type=checkbox]")];
  if (ticks.every((tick) => tick.checked === tick.hasAttribute("data-usual"))) {
    for (const { name } of ticks) formData.delete(name);
  }
}));
