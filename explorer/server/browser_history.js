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
  leadToSection();
}

// A page that is opened with the section of a link is drawn after the browser has looked for it, and grows for a while:
// lead there until it rests, or until a person moves the page.
function leadToSection() {
  const section = new URL(performance.getEntriesByType("navigation")[0].name).hash;
  if (!section) return;
  const until = performance.now() + 10000;
  let moved = false;
  for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
    window.addEventListener(kind, () => { moved = true; }, { capture: true, once: true, passive: true });
  }
  const timer = setInterval(() => {
    if (moved || performance.now() > until) {
      clearInterval(timer);
      return;
    }
    if (!location.hash) history.replaceState(history.state, "", location.href + section);
    document.getElementById(section.slice(1))?.scrollIntoView();
  }, 250);
}
