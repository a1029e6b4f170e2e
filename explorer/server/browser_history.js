// Streamlit adds a step to the browser's history whenever the page writes its address. A page writes it after it was
// opened, and sometimes twice after one change; "Back" would stop at each. So only the first address after a click or
// a key is a new step, and later ones replace it.
export default function () {
  if (window.separationIndexHistory) return;
  window.separationIndexHistory = true;
  let acted = false;
  for (const kind of ["pointerdown", "keydown"]) {
    window.addEventListener(kind, () => { acted = true; }, true);
  }
  window.addEventListener("hashchange", () => { acted = false; });
  const push = history.pushState.bind(history);
  history.pushState = (state, title, url) => {
    const samePage = url !== undefined && new URL(url, location.href).pathname === location.pathname;
    // The section of a link (`#pairs`) stays in the address of a page that has just been opened.
    if (samePage && !acted) history.replaceState(state, title, new URL(url, location.href).hash ? url : url + location.hash);
    else push(state, title, url);
    acted = false;
  };
}
