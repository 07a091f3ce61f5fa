"use strict";
// Puts what changes into the page as it comes, and says so when nothing comes any more.
(() => {
  const PATIENCE = 5000;
  const main = document.getElementById("main");
  const stale = document.getElementById("stale");
  let last = Date.now();
  let shown = "";
  const source = new EventSource("/events");
  source.onmessage = (event) => {
    last = Date.now();
    stale.hidden = true;
    const said = JSON.parse(event.data);
    document.title = said.title;
    if (said.html === shown || !window.getSelection().isCollapsed) {
      return; // nothing is new, or somebody is copying a name
    }
    shown = said.html;
    main.innerHTML = said.html; // escaped where it was made (html.py), and scripts are forbidden
  };
  setInterval(() => {
    if (Date.now() - last > PATIENCE) {
      stale.hidden = false;
      document.title = "stale";
    }
    if (source.readyState === EventSource.CLOSED) {
      location.reload();
    }
  }, 1000);
})();
