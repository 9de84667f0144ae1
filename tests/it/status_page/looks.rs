//! How the pages look, as far as that can be measured: they fit, and they can be read, by day and by night.

use serde_json::Value;

use super::world::World;

/// The text with the least contrast to what is behind it (WCAG 2.2, 1.4.3): how much, and which.
const LEAST_CONTRAST: &str = "(() => {
  const parse = (colour) => (colour.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, at) => sum + part * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parse(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  let least = [99, 'no text'], texts = 0;
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || !node.checkVisibility() || node.closest('option, script, :disabled')) continue;
    texts += 1;
    const [one, other] = [light(parse(getComputedStyle(node).color)), light(behind(node))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < least[0]) least = [contrast, walk.currentNode.data];
  }
  return [...least, texts, getComputedStyle(document.body).backgroundColor];
})()";

async fn awake(path: &str) -> World {
    let world = World::with_three(path).await;
    assert_eq!(world.drowse.get("echo", "/").await.status, 200);
    world.lease("a-reason-without-a-space-that-is-longer-than-any-narrow-window-is-wide-and-goes-on").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn every_text_can_be_read_by_day_and_by_night() {
    let world = awake("/").await;
    for (path, ready) in [("/", "#rows .of-wake"), ("/agents/default/echo", "#recent")] {
        world.page.go(path).await;
        world.page.until_text(ready, "ms").await;
        let mut grounds = Vec::new();
        for scheme in ["light", "dark"] {
            world.page.colours(scheme).await;
            let Value::Array(seen) = world.page.see(LEAST_CONTRAST).await else { panic!("four values") };
            assert!(seen[0].as_f64().unwrap() >= 4.5, "{path} {scheme}: {seen:?}");
            assert!(seen[2].as_u64().unwrap() > 25, "{path}: {seen:?}");
            grounds.push(seen[3].clone());
        }
        assert_ne!(grounds[0], grounds[1], "{path} is the same by night");
    }
    world.page.assert_clean(&[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_wider_than_a_narrow_window() {
    let world = awake("/").await;
    for (path, ready) in [("/", "#rows .of-wake"), ("/agents/default/echo", "#recent")] {
        world.page.go(path).await;
        world.page.until_text(ready, "ms").await;
        for width in [1280, 820, 400, 320] {
            world.page.size(width, 800).await;
            let wide = world.page.see("document.documentElement.scrollWidth").await;
            assert_eq!(wide, width, "{path}");
        }
    }
    world.page.assert_clean(&[]).await;
}
