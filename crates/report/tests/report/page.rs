//! The page as text: what can be said of it without a browser.

use proofyard_report::html::html;

use super::yards::{EVIL, realtime, report, wide};

#[test]
fn what_comes_from_outside_is_text() {
    let page = html(&report(&realtime(60)));
    assert!(!page.contains(EVIL) && !page.contains("<img"), "it is in there as it came");
    assert_eq!(page.matches("<script").count(), 1, "its own");
    assert!(page.contains("&lt;img src=x onerror=&quot;window.pwned = 2&quot;&gt;&amp;&#39;"));
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let page = html(&report(&realtime(60)));
    assert!(page.contains("default-src 'none'"));
    for tie in ["http:", "https:", "src=", "href=", "url(", "@import"] {
        let own = page.replace("url(#plot)", "").replace("img src=x", "");
        assert!(!own.contains(tie), "{tie}");
    }
}

#[test]
fn a_page_of_a_thousand_blocks_is_bounded_and_says_what_it_leaves_out() {
    let page = html(&report(&realtime(1_000)));
    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("The newest 200 blocks with their tasks"));
    let longer = html(&report(&realtime(2_400)));
    assert!(longer.len() < 3_500_000, "{} bytes", longer.len());
    assert!(longer.contains("The newest 2000 heights."));
}

#[test]
fn a_block_of_many_segments_shows_those_that_ended_last() {
    let page = html(&report(&wide(500)));
    assert_eq!(page.matches("<g class=\"task ").count(), 64);
    assert!(page.contains("437 tasks that ended earlier are not drawn"));
    assert!(page.contains("<title>join 0 of block 1: accepted"));
}

#[test]
fn of_an_empty_chain_there_is_a_page_too() {
    let page = html(&report(&realtime(0)));
    assert!(
        page.contains("Nothing is committed or missed there yet") || page.contains("nothing is committed")
    );
    assert_eq!((page.matches("<circle").count(), page.matches("class=\"task").count()), (0, 0));
}
