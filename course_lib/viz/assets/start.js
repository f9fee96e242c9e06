// Bring to life every static copy on the page that is still waiting. Several may share one script, and one script may run twice.
document.querySelectorAll(`[data-course-viz="${KIND}"]:not([data-ready])`).forEach((host) => {
  const source = host.querySelector("script[type='application/json']");
  if (!source) return;
  host.dataset.ready = "";
  mount(host, JSON.parse(source.textContent));
});
