//! A page as a browser shows it: nothing is wrong with it, plots are drawn, and it is legible on a screen and on a phone.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use fms_e2e::fleet::{page, quantities, simulated};
use libtest_mimic::Failed;
use serde::Deserialize;

/// The widths of a screen and of a phone.
const WIDTHS: [u32; 2] = [1280, 390];

/// What a browser has measured of a page at one width, in its pixels.
#[derive(Debug, Deserialize)]
struct Seen {
    width: f64,
    /// How wide everything is together.
    page: f64,
    errors: Vec<String>,
    plots: usize,
    /// Lines that have a length.
    lines: usize,
    /// Texts that are smaller than eight pixels, that are cut off by their plot, or that lie on others.
    illegible: Vec<String>,
    /// Words about limits that are not on the screen.
    hidden: Vec<String>,
}

const SCRIPT: &str = r#"
const look = (frame, errors) => {
  const page = frame.contentDocument, width = frame.clientWidth;
  const all = (within, what) => [...within.querySelectorAll(what)];
  const illegible = [];
  for (const plot of all(page, "svg")) {
    const frame = plot.getBoundingClientRect(), before = [];
    for (const text of all(plot, "text")) {
      const name = plot.getAttribute("aria-label") + ": " + text.textContent, box = text.getBoundingClientRect();
      if (!text.textContent.trim()) continue;
      if (box.height < 8) illegible.push(name + " is small");
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.bottom > frame.bottom + 1) illegible.push(name + " is cut off");
      const over = before.find((o) => o.left < box.right - 1 && box.left < o.right - 1 && o.top < box.bottom - 3 && box.top < o.bottom - 3);
      if (over) illegible.push(name + " lies on another text");
      before.push(box);
    }
  }
  const words = all(page, "table")[0] ? all(all(page, "table")[0], "td:nth-child(2)") : [];
  return {
    width, errors, page: page.documentElement.scrollWidth, plots: all(page, "svg").length,
    lines: all(page, "polyline").filter((line) => line.getTotalLength() > 0).length, illegible,
    hidden: words.filter((word) => word.getBoundingClientRect().right > width).map((word) => word.textContent),
  };
};
addEventListener("load", () => {
  const frames = [...document.querySelectorAll("iframe")];
  document.getElementById("seen").textContent = JSON.stringify(frames.map((frame) => look(frame, frame.contentWindow.errors || [])));
});
"#;

/// The browser, if there is one; else the reason is printed.
fn browser() -> Option<String> {
    let named = std::env::var("CHROMIUM").ok();
    let known = ["chromium", "google-chrome", "chromium-browser"].map(str::to_owned);
    let found = named
        .into_iter()
        .chain(known)
        .find(|program| Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success()));
    if found.is_none() {
        println!(
            "SKIPPED: `chromium` does not start, so no browser looks at the page; install it, or name one in CHROMIUM"
        );
    }
    found
}

fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;")
}

/// Looks at a page, at every width. An error says what is wrong with it.
pub(crate) fn looks_at(page: &str, folder: &Path) -> Result<(), Failed> {
    let Some(browser) = browser() else { return Ok(()) };
    let listening = "<script>errors = []; addEventListener('error', (e) => errors.push(e.message), true);</script>";
    let page = page.replacen("<head>", &format!("<head>{listening}"), 1);
    let mut html = "<!doctype html><meta charset=\"utf-8\"><pre id=\"seen\"></pre>".to_owned();
    for width in WIDTHS {
        let style = format!("border:0;width:{width}px;height:9000px");
        let _infallible = write!(html, "<iframe style=\"{style}\" srcdoc=\"{}\"></iframe>", attribute(&page));
    }
    let _infallible = write!(html, "<script>{SCRIPT}</script>");
    let path = folder.join("in-a-browser.html");
    std::fs::write(&path, html)?;
    let output = Command::new(browser)
        // As root, in a container, a browser has no sandbox.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--virtual-time-budget=20000"])
        .arg(format!("--user-data-dir={}", folder.join("browser").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", path.display()))
        .output()?;
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let seen = dom.split("<pre id=\"seen\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let seen = seen.filter(|seen| !seen.is_empty());
    let seen = seen.ok_or_else(|| format!("the browser says nothing: {}", String::from_utf8_lossy(&output.stderr)))?;
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    let seen: Vec<Seen> = serde_json::from_str(&seen).map_err(|error| format!("{error}: {seen}"))?;
    assert_eq!(seen.len(), WIDTHS.len());
    for seen in seen {
        let is_well = seen.errors.is_empty() && seen.illegible.is_empty() && seen.hidden.is_empty();
        let is_drawn = seen.plots == page.matches("<svg").count() && seen.lines >= seen.plots && seen.plots > 0;
        if !is_well || !is_drawn || seen.page > seen.width {
            return Err(format!("the page is not legible in a browser: {seen:#?}").into());
        }
    }
    Ok(())
}

/// The page that compares the fleet with the recordings.
pub(crate) fn looks_at_the_fleet() -> Result<(), Failed> {
    let recorded = quantities(&fms_simulator::recorded_trips());
    let simulated = quantities(&simulated(1, 2, 1800));
    let folder = tempfile::tempdir()?;
    looks_at(&page(&recorded, &simulated), folder.path())
}
