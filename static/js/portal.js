// Progressive enhancement only: every page works without this file.
// All behaviour is delegated, so it survives htmx swaps without binding again.
(() => {
  "use strict";
  const root = document.documentElement;
  const $ = (selector, within = document) => within.querySelector(selector);
  const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

  // The policy header allows markup through this one door only, and neither script text nor script addresses:
  // htmx inserts what our own server rendered.
  window.trustedTypes?.createPolicy("default", { createHTML: (markup) => markup });

  const say = (text) => {
    const live = $("#live");
    if (!live) return;
    live.textContent = "";
    requestAnimationFrame(() => (live.textContent = text));
  };

  const toast = (text) => {
    const item = $("#toast-template").content.firstElementChild.cloneNode(true);
    $("span", item).textContent = text;
    $("#toasts").append(item);
    setTimeout(() => item.remove(), 10000);
  };

  // Where a request that failed is told of.
  const placeOf = (element) => element.closest("dialog form, .card") || $("main");

  // Dialogs: opened by a button, or arriving with the page or a swap. Focus returns by itself on close.
  const open = (dialog) => {
    if (!dialog || dialog.matches(":modal")) return;
    $(`[popovertarget="${document.activeElement.closest("[popover]")?.id}"]`)?.focus();  // where it returns to
    dialog.showModal();
    const first = $(".body :is(input:not([type=hidden]), select, textarea)", dialog);
    const chosen = first?.type === "radio" && $(`[name="${first.name}"]:checked`, dialog);  // Space must not choose another
    ($("#errors, [autofocus]", dialog) || chosen || first)?.focus();
  };
  const openArrived = () => $$("dialog[data-open]:not([open])").forEach(open);

  document.addEventListener("click", async (event) => {
    const found = event.target.closest("[data-dialog],[data-close],[data-copy],[data-clear],[data-dismiss]");
    if (!found) return;
    const { dialog, copy } = found.dataset;
    if (dialog) event.preventDefault(), open($(dialog));
    if ("dismiss" in found.dataset) found.parentElement.remove();
    if ("clear" in found.dataset) {
      const boxes = $$("table input[type=checkbox]", found.closest(".card"));
      boxes.forEach((box) => (box.checked = false));
      boxes.at(-1)?.dispatchEvent(new Event("change", { bubbles: true }));
    }
    if ("close" in found.dataset && found.closest("dialog").matches(":modal")) {
      event.preventDefault();
      found.closest("dialog").close();
    }
    if (copy) {
      const label = $("span", found);
      const before = (label.dataset.before ??= label.textContent);
      try {
        await navigator.clipboard.writeText($(copy).textContent.trim());
        label.textContent = "Copied";
        say("Copied to clipboard");
      } catch {
        getSelection().selectAllChildren($(copy));
        label.textContent = "Selected";
        say("Selected. Press Control C to copy");
      }
      setTimeout(() => (label.textContent = before), 2000);
    }
  });

  // A secret shown once must not vanish on Esc (closedby="none", for browsers that do not know it) …
  document.addEventListener("cancel", (event) => {
    if (event.target.matches?.('dialog[closedby="none"]')) event.preventDefault();
  }, true);
  // … and must not stay in the document once its dialog is closed.
  document.addEventListener("close", (event) => {
    if (event.target.closest?.("#dialogs")) event.target.remove();
  }, true);

  // Preferences take effect at once; the server keeps them in a cookie and renders them next time.
  document.addEventListener("submit", (event) => {
    const { target: form, submitter } = event;
    if (!form.matches("[data-preferences]") || !submitter?.name) return;
    event.preventDefault();
    fetch(form.action, {
      method: "POST",
      headers: { "HX-Request": "true" },
      body: new FormData(form, submitter),
    }).catch(() => toast("The choice holds for this page only: there is no connection to the portal."));
    const { name, value } = submitter;
    if (name === "keys") root.dataset.shortcuts = value;
    if (name === "theme") {
      if (value === "system") delete root.dataset.theme;
      else root.dataset.theme = value;
      $('meta[name="color-scheme"]').content = value === "system" ? "light dark" : value;
      $$("[name=theme]", form).forEach((b) => b.setAttribute("aria-pressed", String(b === submitter)));
    }
  });

  // Rows: "select all on this page", and the count in the bar below.
  document.addEventListener("change", (event) => {
    const table = event.target.closest("table");
    if (!table || event.target.type !== "checkbox") return;
    const rows = $$("tbody input[type=checkbox]", table);
    const all = $("thead input[type=checkbox]", table);
    if (event.target === all) rows.forEach((box) => (box.checked = all.checked));
    const chosen = rows.filter((box) => box.checked).length;
    if (all) {
      all.checked = chosen > 0 && chosen === rows.length;
      all.indeterminate = chosen > 0 && chosen < rows.length;
    }
    const output = $(".bulk output", table.closest(".card"));
    if (output) output.textContent = `${chosen} selected`;
  });

  // Keys: Control or Command K finds anything; arrows go through what was found.
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && $("#find")) {
      event.preventDefault();
      if (!$("dialog:modal")) open($("#find"));
    }
    if (event.key === "Escape") event.target.closest("#find")?.close();
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const stops = step ? $$("input[type=search], .finds a", event.target.closest("[data-find]") || root) : [];
    const next = stops[stops.indexOf(event.target) + step];
    if (next?.closest("[data-find]") && event.target.closest("[data-find]")) event.preventDefault(), next.focus();
  });

  // Keys: "/" searches this page, "g" and a letter goes, "?" lists them.
  let pressedG = -Infinity;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || root.dataset.shortcuts === "off") return;
    if (event.target.matches("input,select,textarea") || $("dialog:modal")) return;
    if (event.key === "/") {
      const search = $("main input[type=search]");
      if (search) event.preventDefault(), search.select();
    } else if (event.key === "?") open($("#keys"));
    else if (event.key === "g") pressedG = event.timeStamp;
    else if (event.timeStamp - pressedG < 1200) {
      pressedG = -Infinity;
      $(`.nav a[data-go="${CSS.escape(event.key)}"]`)?.click();
    }
  });

  // htmx: empty filters stay out of the address; polling rests while nobody looks or something is open.
  document.addEventListener("htmx:configRequest", ({ detail }) => {
    if (detail.verb !== "get") return;
    for (const name of Object.keys(detail.parameters)) if (detail.parameters[name] === "") delete detail.parameters[name];
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    const isBusy = document.hidden || $("main details[open], dialog:modal, .menu:popover-open");
    if (event.target.matches("[data-poll]") && isBusy) event.preventDefault();
    else $(":scope > .failure", placeOf(event.target))?.remove();
  });

  // htmx: a link that stands outside the list takes the filters along, as the address has them now.
  const follow = () => {
    const filters = new URLSearchParams(location.search);
    filters.delete("cursor");
    for (const link of document.querySelectorAll("a[data-follows]")) link.search = filters;
  };
  for (const name of ["htmx:pushedIntoHistory", "htmx:replacedInHistory"]) document.addEventListener(name, follow);

  // htmx: what the server says in HX-Trigger, and the focus after a swap.
  document.addEventListener("toast", ({ detail }) => toast(detail.value));
  document.addEventListener("done", (event) => event.target.closest("dialog")?.close());
  document.addEventListener("htmx:load", openArrived);
  document.addEventListener("htmx:afterSettle", ({ target, detail }) => {
    if (!detail.requestConfig?.elt.closest(".pager")) return;
    const caption = $("caption", target);
    caption?.setAttribute("tabindex", "-1");
    caption?.focus();
  });

  // htmx: a failure is told where it happened. Live figures keep what they show and turn amber.
  const fail = ({ detail }) => {
    const { elt, requestConfig: config, xhr } = detail;
    if (elt.matches("[data-poll]")) {
      elt.classList.add("warn");
      if (elt.dataset.stale) elt.textContent = elt.dataset.stale;
      return;
    }
    const notice = $("#failure-template").content.firstElementChild.cloneNode(true);
    const isText = xhr?.getResponseHeader("Content-Type")?.startsWith("text/plain");
    const reference = xhr?.getResponseHeader("X-Request-ID");
    $("b", notice).textContent = isText ? xhr.responseText : "The portal did not answer.";
    $("div > span", notice).textContent = reference ? `Reference ${reference}` : "Check your connection.";
    if (config.verb === "get") {
      $("[data-retry]", notice).onclick = () => {
        htmx.ajax("get", config.path, { source: elt, target: detail.target, swap: elt.closest("[hx-swap]")?.getAttribute("hx-swap") });
      };
    } else $("[data-retry]", notice).remove();
    placeOf(elt).prepend(notice);
  };
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, fail);

  openArrived();
})();
