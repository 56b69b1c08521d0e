//! Draws the screen: whose figures these are and how old, the view, and the list of keys.

use hotshoe_trust::Time;
use jiff::tz::TimeZone;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::app::{App, Connection, View};
use super::keys::KEYS;
use super::lines::{Lines, Tone, shown};
use super::views;

/// Least lines of a screen that has a head and a foot.
const LEAST_ROWS: u16 = 8;

/// How the screen looks.
#[derive(Debug, Clone)]
pub(super) struct Look {
    /// Whether it has colours.
    pub has_colour: bool,
    /// The zone of times of day.
    pub zone: TimeZone,
}

/// Draws one frame. `now` is this machine's clock.
pub(super) fn frame(frame: &mut Frame<'_>, app: &mut App, look: &Look, now: Time) {
    let area = frame.area();
    if area.height < LEAST_ROWS {
        return body(frame, area, app, look);
    }
    let [head, tabs, middle, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(2),
        Constraint::Min(1),
        Constraint::Length(1),
    ])
    .areas(area);
    frame.render_widget(Paragraph::new(title(app, look, now)), head);
    frame.render_widget(Paragraph::new(views_line(app)), tabs);
    body(frame, middle, app, look);
    let keys = if app.is_paused {
        "PAUSED: p continues   ? keys   q end"
    } else {
        "? keys   q end   Tab next view"
    };
    frame.render_widget(Paragraph::new(keys), foot);
    if app.has_help {
        help(frame, area);
    }
}

/// Whose figures these are, and whether they are of now.
fn title(app: &App, look: &Look, now: Time) -> Vec<Line<'static>> {
    let bold = Tone::Bold.style(look.has_colour);
    let name = match (app.view, app.device()) {
        (View::Site, _) | (_, None) => "hotshoe top".to_owned(),
        (_, Some(overview)) => format!("{}/{}", overview.site, overview.device),
    };
    let mut first = vec![Span::styled(shown(&name), bold)];
    let answer = app.device().and_then(|it| it.answer.as_ref());
    if let (false, Some(answer)) = (app.view == View::Site, answer) {
        let status = &answer.status;
        let more = format!("  hotshoe {}, up {} s", status.version, status.uptime_s);
        first.push(Span::raw(shown(&more)));
    }
    let (tone, text) = match &app.connection {
        Connection::Connecting => (Tone::Dim, "connecting".to_owned()),
        Connection::Connected => {
            let by = app.snapshot.by;
            (Tone::Good, format!("connected by {by}"))
        }
        Connection::Lost { since, cause } => {
            let time = since.to_zoned(look.zone.clone()).strftime("%H:%M:%S");
            let seconds = now.as_second().saturating_sub(since.as_second()).max(0);
            let text = format!("LOST since {time}, {seconds} s ago, tries again: {cause}");
            (Tone::Bad, text)
        }
    };
    let second = Span::styled(shown(&text), tone.style(look.has_colour));
    vec![first.into(), second.into()]
}

fn views_line(app: &App) -> Line<'static> {
    let mut spans = Vec::new();
    for (place, view) in app.views().iter().enumerate() {
        let text = format!(" {} {} ", place + 1, view.title());
        let style = if *view == app.view {
            Style::new().add_modifier(Modifier::REVERSED)
        } else {
            Style::new()
        };
        spans.extend([Span::styled(text, style), Span::raw(" ")]);
    }
    spans.into()
}

fn body(frame: &mut Frame<'_>, area: Rect, app: &mut App, look: &Look) {
    let mut lines = Lines::new(usize::from(area.width), look.has_colour);
    views::fill(app, &mut lines);
    let marked = lines.marked;
    let lines = lines.into_lines();
    let rows = usize::from(area.height);
    app.screenful = rows.saturating_sub(1).max(1);
    if let (true, Some(marked)) = (app.follows_mark, marked) {
        let least = (marked + 1).saturating_sub(rows);
        app.top = app.top.clamp(least, marked.max(least));
    }
    app.follows_mark = false;
    app.top = app.top.min(lines.len().saturating_sub(rows));
    let widest = lines.iter().map(Line::width).max().unwrap_or_default();
    let most = widest.saturating_sub(usize::from(area.width));
    app.left = app.left.min(u16::try_from(most).unwrap_or(u16::MAX));
    let visible = lines.into_iter().skip(app.top).take(rows);
    let text: Vec<Line<'static>> = visible.collect();
    frame.render_widget(Paragraph::new(text).scroll((0, app.left)), area);
}

/// The list of keys, over the view.
fn help(frame: &mut Frame<'_>, area: Rect) {
    let lines = KEYS.iter().map(|(keys, what)| format!("{keys:<18}{what}"));
    let lines: Vec<Line<'static>> = lines.map(Line::from).collect();
    let wide = lines.iter().map(Line::width).max().unwrap_or_default() + 2;
    let width = u16::try_from(wide).unwrap_or(u16::MAX).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let place = area.centered(
        Constraint::Length(width),
        Constraint::Length(height.min(area.height)),
    );
    frame.render_widget(Clear, place);
    let block = Block::bordered().title("Keys");
    frame.render_widget(Paragraph::new(lines).block(block), place);
}
