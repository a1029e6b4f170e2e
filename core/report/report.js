const specs = JSON.parse(document.getElementById("specs").textContent);
const themes = JSON.parse(document.getElementById("themes").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const shown = [];

function draw() {
  shown.splice(0).forEach(view => view.finalize());
  const ground = dark.matches ? "dark" : "light";
  for (const place of document.querySelectorAll(".chart")) {
    const options = { config: themes[ground], actions: false, renderer: "svg", tooltip: { theme: ground } };
    vegaEmbed(place, specs[Number(place.dataset.spec)], options).then(view => shown.push(view));
  }
}

dark.addEventListener("change", draw);
draw();
