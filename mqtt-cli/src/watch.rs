//! `--watch`: a live table with a line for each topic. Where standard output is no terminal, lines are rewritten with
//! escape sequences, as mosquitto_sub does.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use mqtt_client_async::Message;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyModifiers};
use ratatui::layout::Constraint;
use ratatui::style::{Style, Stylize};
use ratatui::widgets::{Block, Cell, Row, Table as TableWidget};

use crate::codec::Codec;
use crate::failure::Outcome;
use crate::options::Settings;

/// How long a line that changed is bright.
const BRIGHT: Duration = Duration::from_millis(600);

/// What is known of a topic.
struct Line {
    payload: String,
    count: u64,
    qos: u8,
    retain: bool,
    at: Instant,
}

pub(crate) struct Table {
    lines: BTreeMap<String, Line>,
    codec: Codec,
    title: String,
    /// Messages since the rate was counted.
    recent: u64,
    counted: Instant,
    rate: f64,
    screen: Screen,
}

enum Screen {
    Terminal(Box<DefaultTerminal>),
    /// In which line each topic is.
    Lines(BTreeMap<String, usize>),
}

impl Table {
    pub(crate) fn new(settings: &Settings) -> Outcome<Self> {
        let is_terminal = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
        let screen = if is_terminal {
            Screen::Terminal(Box::new(ratatui::try_init()?))
        } else {
            println!("\x1b[2J\x1b[1;1HBroker: {}", settings.host());
            Screen::Lines(BTreeMap::new())
        };
        Ok(Self {
            lines: BTreeMap::new(),
            codec: settings.codec,
            title: format!(" {}:{} ", settings.host(), settings.port()),
            recent: 0,
            counted: Instant::now(),
            rate: 0.0,
            screen,
        })
    }

    /// A message came.
    pub(crate) fn put(&mut self, message: &Message) {
        let decoded = self.codec.decode(message.payload()).unwrap_or_else(|_| message.payload().into());
        let payload = printable(&decoded);
        self.recent += 1;
        if let Screen::Lines(places) = &mut self.screen {
            let next = places.len() + 2;
            let place = *places.entry(message.topic().to_owned()).or_insert(next);
            println!("\x1b[{place};1H\x1b[K{} {payload}", message.topic());
            let _ = std::io::stdout().flush();
            return;
        }
        let count = self.lines.get(message.topic()).map_or(0, |line| line.count);
        let line = Line {
            payload,
            count: count + 1,
            qos: message.qos() as u8,
            retain: message.retain(),
            at: Instant::now(),
        };
        self.lines.insert(message.topic().to_owned(), line);
    }

    /// Draws everything anew; true where `q` or Ctrl-C was pressed.
    pub(crate) fn draw(&mut self) -> Outcome<bool> {
        if self.counted.elapsed() >= Duration::from_secs(1) {
            self.rate = self.recent as f64 / self.counted.elapsed().as_secs_f64();
            self.recent = 0;
            self.counted = Instant::now();
        }
        let Screen::Terminal(terminal) = &mut self.screen else {
            return Ok(false);
        };
        let title =
            format!("{}{} topics, {:.0} messages/s, q to leave ", self.title, self.lines.len(), self.rate);
        let rows = self.lines.iter().map(|(topic, line)| row(topic, line));
        let widths = [
            Constraint::Percentage(40),
            Constraint::Length(8),
            Constraint::Length(3),
            Constraint::Length(6),
            Constraint::Fill(1),
        ];
        let header = Row::new(["topic", "messages", "QoS", "age", "payload"]).bold();
        let table = TableWidget::new(rows, widths).header(header).block(Block::bordered().title(title));
        terminal.draw(|frame| frame.render_widget(table, frame.area()))?;
        is_left()
    }
}

fn row<'l>(topic: &'l str, line: &'l Line) -> Row<'l> {
    let age = line.at.elapsed();
    let style = if age < BRIGHT { Style::new().bold().green() } else { Style::new() };
    let qos = format!("{}{}", line.qos, if line.retain { "r" } else { "" });
    Row::new([
        Cell::from(topic),
        Cell::from(line.count.to_string()),
        Cell::from(qos),
        Cell::from(format!("{} s", age.as_secs())),
        Cell::from(line.payload.as_str()),
    ])
    .style(style)
}

/// Whether somebody pressed `q` or Ctrl-C.
fn is_left() -> Outcome<bool> {
    while event::poll(Duration::ZERO)? {
        if let Event::Key(key) = event::read()? {
            let is_interrupt =
                key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
            if is_interrupt || key.code == KeyCode::Char('q') || key.code == KeyCode::Esc {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Screen::Terminal(_) = self.screen {
            ratatui::restore();
        }
    }
}

/// A payload in one line: text without control characters, or its beginning in hexadecimal.
fn printable(payload: &[u8]) -> String {
    match str::from_utf8(payload) {
        Ok(text) => text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect(),
        Err(_) => payload.iter().take(64).map(|byte| format!("{byte:02x} ")).collect(),
    }
}
