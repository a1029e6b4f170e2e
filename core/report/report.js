const specs = JSON.parse(document.getElementById("specs").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const shown = [];

function theme() {
  const style = getComputedStyle(document.documentElement);
  const color = name => style.getPropertyValue(name).trim();
  const axis = {
    labelColor: color("--soft"), titleColor: color("--soft"), domainColor: color("--line"),
    tickColor: color("--line"), gridColor: color("--line"), titleFontWeight: "normal",
  };
  const category = dark.matches
    ? ["#6cb6f0", "#f0a35e", "#4fcfa2", "#d59ad6"]
    : ["#0b62a4", "#c4540a", "#0a7d5c", "#8e4b8f"];
  return {
    background: "transparent", font: "system-ui, sans-serif", view: { stroke: null }, axis,
    legend: { labelColor: color("--text"), titleColor: color("--text") },
    mark: { color: color("--accent") }, range: { category },
  };
}

function draw() {
  shown.splice(0).forEach(view => view.finalize());
  for (const place of document.querySelectorAll(".chart")) {
    const options = { config: theme(), actions: false, renderer: "svg", theme: undefined, tooltip: { theme: dark.matches ? "dark" : "light" } };
    vegaEmbed(place, specs[Number(place.dataset.spec)], options).then(view => shown.push(view));
  }
}

dark.addEventListener("change", draw);
draw();
