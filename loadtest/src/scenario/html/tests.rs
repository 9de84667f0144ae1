//! The page as a whole.

use super::*;
use crate::scenario::figures::tests::figures;

fn whole() -> String {
    let machine = Machine { facts: vec![("CPUs", "2, <fast> & \"cheap\"".to_owned())] };
    page(&machine, &[figures(), figures()])
}

/// Goes through a page as a reader of XML would, but for its first line and its style sheet: every tag is closed in its
/// turn, every value of an attribute is quoted, and every sign that means something is written out where it means
/// nothing.
fn check(page: &str) -> Result<usize, String> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>\n").ok_or("no first line")?;
    let (mut open, mut seen) = (Vec::new(), 0);
    while let Some((text, after)) = rest.split_once('<') {
        if open.last() != Some(&"style")
            && (text.contains('>')
                || text
                    .replace("&amp;", "")
                    .replace("&lt;", "")
                    .replace("&gt;", "")
                    .replace("&quot;", "")
                    .contains('&'))
        {
            return Err(format!("a bare sign in {text:?}"));
        }
        let (tag, next) = after.split_once('>').ok_or("a tag without an end")?;
        rest = next;
        seen += 1;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> out of turn"));
            }
            continue;
        }
        let (inner, is_empty) = tag.strip_suffix('/').map_or((tag, false), |inner| (inner, true));
        let (name, attributes) = inner.split_once(' ').unwrap_or((inner, ""));
        if attributes.matches('"').count() % 2 != 0
            || attributes.matches("=\"").count() * 2 != attributes.matches('"').count()
        {
            return Err(format!("a bad attribute in <{tag}>"));
        }
        if !is_empty {
            open.push(name);
        }
    }
    if open.is_empty() && rest.trim().is_empty() { Ok(seen) } else { Err(format!("left open: {open:?}")) }
}

#[test]
fn the_page_is_well_formed_whatever_names_there_are() {
    assert!(check(&whole()).unwrap() > 200);
}

#[test]
fn the_check_finds_what_is_wrong() {
    let first = "<!DOCTYPE html>\n";
    assert_eq!(check(&format!("{first}<a b=\"c\"><d/></a>\n")), Ok(3));
    for bad in ["<a><b></a></b>", "<a>", "<a>&</a>", "<a b=c></a>x<d", "<a b=\"c></a>", "<a>b > c</a>"] {
        assert!(check(&format!("{first}{bad}")).is_err(), "{bad}");
    }
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = whole();
    for outside in ["http:", "https:", "//", "src=", "href=", "url(", "@import", "<script", "<link", "<img"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("prefers-color-scheme: dark") && page.contains("name=\"viewport\""));
}

#[test]
fn the_page_has_the_machine_the_tables_and_the_plots() {
    let page = whole();
    let facts = [
        "<dt>CPUs</dt><dd>2, &lt;fast&gt; &amp; &quot;cheap&quot;</dd>",
        "<th scope=\"row\">people &amp; &lt;others&gt;, warm</th><td class=\"number\">990</td>",
        "<td>2 (503: 2)</td>",
        "<figcaption>Agents up</figcaption>",
        "<figcaption>Latency by percentile, ms<span class=\"legend\">",
        "<path class=\"line bad\"",
    ];
    for fact in facts {
        assert!(page.contains(fact), "{fact} is not in\n{page}");
    }
    assert_eq!(page.matches("<svg ").count(), 12);
}
