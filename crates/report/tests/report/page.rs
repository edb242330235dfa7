//! The page as text: what can be said of it without a browser.

use proofyard_report::html::{Line, Page, Plot, html};

use super::yards::{EVIL, priced, realtime, report, wide};

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
fn cost_and_energy_are_on_the_page_and_unknown_where_they_are() {
    let known = html(&report(&priced(4)));
    assert!(known.contains("cost: P50 0.0175 USD a block"), "{known}");
    assert!(known.contains("<th>USD a proof, P50</th>"));
    let unknown = html(&report(&realtime(10)));
    assert!(unknown.contains("cost: unknown; ") && !unknown.contains("<th>USD a proof, P50</th>"));
}

#[test]
fn of_an_empty_chain_there_is_a_page_too() {
    let page = html(&report(&realtime(0)));
    assert!(
        page.contains("Nothing is committed or missed there yet") || page.contains("nothing is committed")
    );
    assert_eq!((page.matches("<circle").count(), page.matches("class=\"task").count()), (0, 0));
}

fn plotted(lines: Vec<Line>) -> String {
    let plot = Plot {
        id: "plot",
        title: "Title",
        about: "",
        unit: "ms",
        places: vec!["1".to_owned(), "2".to_owned()],
        lines,
    };
    let rows = vec![vec![EVIL.to_owned()], vec!["a".to_owned(), "b".to_owned()]];
    let columns = vec!["one".to_owned(), "two".to_owned()];
    Page {
        brand: "Brand",
        heading: "Heading",
        about: EVIL,
        plots: vec![plot],
        columns,
        rows,
        notes: &["note"],
    }
    .html()
}

#[test]
fn a_plot_shows_each_figure_in_the_colour_of_its_line_and_an_ideal_one_in_that_of_the_line_before() {
    let line = |name: &str, is_ideal, points: [Option<f64>; 2]| Line {
        name: name.to_owned(),
        is_ideal,
        points: points.to_vec(),
    };
    let page = plotted(vec![
        line("first", false, [Some(0.5), Some(30.0)]),
        line("bound", true, [Some(1.0), Some(2.0)]),
        line(EVIL, false, [None, Some(7.0)]),
    ]);
    assert_eq!(page.matches("<circle class=\"dot\"").count(), 3);
    assert_eq!(page.matches("<g class=\"s0\">").count(), 2, "the first line and its bound");
    assert!(page.contains("<path class=\"line ideal\"") && page.contains("first\n2: 30.00 ms"));
    assert!(!page.contains(EVIL) && !page.contains("NaN") && page.contains("default-src 'none'"));
    let empty = plotted(vec![line("nothing", false, [None, Some(0.0)])]);
    assert!(!empty.contains("id=\"plot\"") && empty.contains("id=\"figures\""));
}
