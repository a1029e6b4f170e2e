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
  // That of the address, or of a link that was clicked before this was loaded.
  const opened = location.hash || new URL(performance.getEntriesByType("navigation")[0].name).hash;
  leadToSection(opened, () => {
    if (!location.hash) history.replaceState(history.state, "", location.href + opened);
    return true;
  });
  window.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#"]');
    if (link) leadToSection(link.hash, () => location.hash === link.hash);
  });
}

// A page grows while it is drawn, and its charts after that: lead to a section until the page has been drawn for ten
// seconds, as long as the section is asked for and nobody moves the page.
function leadToSection(section, isAskedFor) {
  if (!section) return;
  let drawn = performance.now();
  let moved = false;
  for (const kind of ["pointerdown", "keydown", "wheel", "touchstart"]) {
    window.addEventListener(kind, () => { moved = true; }, { capture: true, once: true, passive: true });
  }
  const timer = setInterval(() => {
    if (document.querySelector('[data-testid="stApp"][data-test-script-state="running"]')) drawn = performance.now();
    if (moved || performance.now() - drawn > 10000 || !isAskedFor()) {
      clearInterval(timer);
      return;
    }
    document.getElementById(section.slice(1))?.scrollIntoView();
  }, 250);
}
