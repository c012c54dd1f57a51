// Runs before the first paint so that the theme does not flash. A file of its own: the policy forbids inline scripts.
{
  let t = null;
  try {
    t = localStorage.getItem("sonde.theme");
  } catch {}
  if (t !== "light" && t !== "dark") t = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = t;
}
