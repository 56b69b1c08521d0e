mod app;
mod draw;
mod error;
#[cfg(test)]
mod fixture;
mod keys;
mod lines;
mod rates;
mod source;
#[cfg(test)]
mod tests;
mod views;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::Context;
use hotshoe_base::supervisor::Supervisor;
use hotshoe_config::Config;
use hotshoe_release::terminal::Terminal;
use hotshoe_release::{logging, signals};
use hotshoe_trust::Time;
use jiff::tz::TimeZone;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, size};
use ratatui::layout::Rect;
use ratatui::{DefaultTerminal, TerminalOptions, Viewport};

use crate::fleet::local::CONFIG;
use crate::fleet::network::NetworkArgs;
use app::{App, Next};
use draw::Look;
use source::{Asker, Scope, Snapshot, Source};

pub(crate) use error::TopError;

/// How often the screen is drawn without news, since it shows how old they are.
const TICK: Duration = Duration::from_secs(1);

/// Show a device or a site in the terminal, as it runs
///
/// For one device, given by its configuration or by --device, shows the pipeline with the rate, latency and errors of each stage, the
/// models, sensors and modes, the alerts, the releases and the last events. For a site, shows a table of all devices, and each of them.
/// Every figure but the rates is one of `hotshoe status --json`. `?` lists the keys; it ends with `q`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: the device on this machine
  hotshoe top --config hotshoe.toml

Example: a whole site, through its registry
  hotshoe top --site-dir lab

Example: one device of it
  hotshoe top --site-dir lab --device line-4

It asks once a second, and a large site less often. If the connection is lost, it says since when, keeps the last figures, and tries again
after 1 s, doubling to 10 s. `NO_COLOR` turns colours off. Exit code 0 after `q` or a signal, 1 without a terminal (error `no_terminal`) or
if the terminal fails.")]
pub(crate) struct Args {
    /// A device's configuration: that device, or its network [default: hotshoe.toml, unless --connect is given]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// All devices of this site
    #[arg(long, value_name = "SITE")]
    site: Option<String>,
    /// Only the device with this name
    #[arg(long, value_name = "NAME")]
    device: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

/// The screen of a terminal that does not say its size, as on a serial line.
const NO_SIZE: Rect = Rect::new(0, 0, 80, 24);

/// News for the screen.
enum News {
    /// A key, or another size of the terminal.
    Terminal(io::Result<Event>),
    /// The outcome of a round.
    Round(anyhow::Result<Snapshot>),
    /// A signal asks this run to end.
    Stop,
    /// A part ended.
    Ended(&'static str),
}

pub(crate) fn run(args: Args, terminal: &Terminal) -> anyhow::Result<ExitCode> {
    if terminal.json || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(TopError::NoTerminal.into());
    }
    // Lines of a log would stand across the screen.
    if !io::stderr().is_terminal() {
        logging::init("error")?;
    }
    let source = source(args)?;
    let look = Look {
        has_colour: terminal.has_colour(),
        zone: TimeZone::system(),
    };
    let mut app = App::new(!source.scope.is_one(), Instant::now());
    let (news, heard) = channel();
    let stop = news.clone();
    signals::on_first(move |_| drop(stop.send(News::Stop)))?;
    let supervisor = Supervisor::default();
    let (asks, asked) = channel();
    let mut screen = Screen::open()?;
    start(&supervisor, "top-ask", &news, move |news| {
        ask(source, &asked, news)
    })?;
    start(&supervisor, "top-keys", &news, read_keys)?;
    drop(news);
    follow(&mut screen, &mut app, &look, &asks, &heard)?;
    Ok(ExitCode::SUCCESS)
}

/// What to ask, and where.
fn source(args: Args) -> anyhow::Result<Source> {
    let list = args.network.devices()?;
    let cannot_open = args.network.cannot_open();
    if !args.network.is_given() && args.site.is_none() && args.device.is_none() {
        let path = args.config.as_deref().unwrap_or(Path::new(CONFIG));
        let config = Config::load(path).context("give --config or --connect")?;
        let mut zenoh = config.zenoh.client();
        zenoh.insecure |= args.network.insecure;
        return Ok(Source {
            data: Some(config.data),
            zenoh,
            scope: Scope {
                site: Some(config.site),
                device: Some(config.device),
            },
            list,
            cannot_open,
        });
    }
    let default = Path::new(CONFIG);
    let default = (!args.network.is_given() && default.exists()).then_some(default);
    let network = args
        .network
        .resolve(args.config.as_deref().or(default), None)?;
    Ok(Source {
        data: None,
        zenoh: network.zenoh,
        scope: Scope {
            site: args.site.or(network.site),
            device: args.device,
        },
        list,
        cannot_open,
    })
}

/// The terminal as a screen, and as it was before when this is dropped, or when a thread panics.
struct Screen(DefaultTerminal);

impl Screen {
    fn open() -> Result<Self, TopError> {
        let has_size = size().is_ok_and(|(columns, rows)| columns > 0 && rows > 0);
        let viewport = if has_size {
            Viewport::Fullscreen
        } else {
            Viewport::Fixed(NO_SIZE)
        };
        let opened = ratatui::try_init_with_options(TerminalOptions { viewport });
        let opened = opened.and_then(|terminal| {
            execute!(io::stdout(), EnterAlternateScreen)?;
            Ok(Self(terminal))
        });
        opened.map_err(|source| {
            let _ = ratatui::try_restore();
            TopError::Terminal { source }
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone cannot be restored.
        let _ = self.0.show_cursor();
        let _ = ratatui::try_restore();
    }
}

/// Reports the end of a part, also by a panic.
struct EndReport {
    part: &'static str,
    news: Sender<News>,
}

impl Drop for EndReport {
    fn drop(&mut self) {
        let _ = self.news.send(News::Ended(self.part));
    }
}

/// Starts a part, which ends when the screen does.
fn start(
    supervisor: &Supervisor,
    part: &'static str,
    news: &Sender<News>,
    run: impl FnOnce(&Sender<News>) + Send + 'static,
) -> anyhow::Result<()> {
    let news = news.clone();
    let started = supervisor.task(part, move || {
        let report = EndReport { part, news };
        run(&report.news);
    });
    started
        .map(drop)
        .with_context(|| format!("cannot start the part {part}"))
}

/// Asks when it is told to.
fn ask(source: Source, asked: &Receiver<()>, news: &Sender<News>) {
    let mut asker = Asker::new(source);
    while asked.recv().is_ok() {
        if news.send(News::Round(asker.ask())).is_err() {
            break;
        }
    }
    asker.close();
}

/// Waits for keys and other sizes of the terminal.
fn read_keys(news: &Sender<News>) {
    loop {
        let read = event::read();
        let is_over = read.is_err();
        if news.send(News::Terminal(read)).is_err() || is_over {
            return;
        }
    }
}

/// Draws until a key or a signal ends it.
fn follow(
    screen: &mut Screen,
    app: &mut App,
    look: &Look,
    asks: &Sender<()>,
    heard: &Receiver<News>,
) -> Result<(), TopError> {
    let failed = |source| TopError::Terminal { source };
    loop {
        if app.must_ask(Instant::now()) {
            // If its receiver is gone, the news say so.
            let _ = asks.send(());
        }
        let draw = |frame: &mut ratatui::Frame<'_>| draw::frame(frame, app, look, Time::now());
        screen.0.draw(draw).map_err(failed)?;
        let most = app.left_to_ask(Instant::now()).unwrap_or(TICK).min(TICK);
        let first = match heard.recv_timeout(most) {
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        for news in std::iter::once(first).chain(heard.try_iter()) {
            match news {
                News::Stop => return Ok(()),
                News::Ended(part) => return Err(TopError::PartEnded { part }),
                News::Terminal(Err(source)) => return Err(failed(source)),
                News::Terminal(Ok(Event::Key(key))) => {
                    if app.key(key, Instant::now()) == Next::Quit {
                        return Ok(());
                    }
                }
                // The next frame has the new size.
                News::Terminal(Ok(_)) => {}
                News::Round(round) => app.answered(round, Instant::now(), Time::now()),
            }
        }
    }
}
