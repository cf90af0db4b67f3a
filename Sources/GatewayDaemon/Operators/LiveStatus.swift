// Licensed under the Apache License 2.0; see LICENSE.

internal import GatewayCore
internal import Glibc
internal import MCPWire

/// The status of a gateway, asked for and shown again and again: on a terminal in place, elsewhere one screen after the
/// other. Goes on when the gateway goes away, until somebody ends it.
package struct LiveStatus: Sendable {
    /// How it is shown.
    package struct Look: Sendable {
        package var isColoured: Bool
        /// The terminal shows more than ASCII.
        package var hasBlocks: Bool
        /// The terminal can put the cursor somewhere.
        package var canMove: Bool

        package init(isColoured: Bool, hasBlocks: Bool, canMove: Bool) {
            self.isColoured = isColoured
            self.hasBlocks = hasBlocks
            self.canMove = canMove
        }
    }

    private let client: ControlClient
    private let interval: Duration
    private let count: Int?
    private let look: Look
    private let time = SystemTime()
    /// A gateway that takes longer to say how it is counts as away.
    private static let patience = Duration.seconds(2)

    /// - Parameters:
    ///   - interval: one of `intervals`.
    ///   - count: ends after so many screens; nil for when somebody ends it.
    package init(client: ControlClient, interval: Duration, count: Int?, look: Look) {
        self.client = client
        self.interval = interval
        self.count = count
        self.look = look
    }

    package static let intervals = Duration.milliseconds(500)...Duration.seconds(60)

    /// Throws when there is no gateway to begin with. Returns false when it was away at the end.
    ///
    /// - Parameter json: prints its JSON, a line each time.
    package func run(json: Bool) throws(StartError) -> Bool {
        let first = try client.statusFacts(patience: Self.patience)
        let signals = try EndSignals()
        guard look.canMove, LiveTerminal.isThere, !json else { return printed(first, signals, json: json) }
        drawn(first.json, signals)
        return true
    }

    private func ask() -> Result<(json: JSONValue, text: String), StartError> {
        do throws(StartError) {
            return .success(try client.statusFacts(patience: Self.patience))
        } catch { return .failure(error) }
    }

    // MARK: One after the other

    private func printed(_ first: (json: JSONValue, text: String), _ signals: EndSignals, json: Bool) -> Bool {
        var answer: Result<(json: JSONValue, text: String), StartError> = .success(first)
        var number = 1
        while true {
            let began = time.now()
            switch answer {
            case .success(let (status, text)):
                let screen = json ? text : StatusScreen.lines(status, showsAll: false).text(isColoured: look.isColoured)
                let gap = number > 1 && !json ? "\n" : ""
                guard ProcessOutput.write(gap + screen + "\n", to: STDOUT_FILENO) else { return true }
            case .failure(let error): ProcessOutput.write("mcp-gateway: \(error.words)\n", to: STDERR_FILENO)
            }
            if let count, number >= count { break }
            number += 1
            let event = wait(since: began) { signals.wait($0, output: STDOUT_FILENO) }
            if event == .end { break }
            answer = ask()
        }
        if case .failure = answer { return false }
        return true
    }

    // MARK: In place

    private func drawn(_ first: JSONValue, _ signals: EndSignals) {
        let terminal = LiveTerminal(signals)
        var view = LiveView(interval: interval, hasBlocks: look.hasBlocks)
        var screen = LiveScreen(isColoured: look.isColoured)
        view.take(first, at: time.now())
        var trouble: String?
        var number = 1
        while true {
            let began = time.now()
            let size = terminal.size
            let lines = view.lines(
                trouble: trouble, at: began, wall: time.wallMilliseconds(), columns: size.columns)
            guard terminal.draw(screen.frame(lines, rows: size.rows, columns: size.columns)) else { return }
            if let count, number >= count { return }
            number += 1
            switch wait(since: began, { terminal.wait($0) }) {
            case .end: return
            case .redraw: screen.forget()
            case .timeIsOver: break
            }
            switch ask() {
            case .success(let (status, _)):
                view.take(status, at: time.now())
                trouble = nil
            case .failure(let error): trouble = error.words
            }
        }
    }

    /// Until it is time for the next screen, unless something comes before.
    private func wait(since began: Moment, _ body: (Int32) -> LiveEvent) -> LiveEvent {
        let ends = Deadline(began + interval)
        while true {
            let left = ends.remaining(at: time.now())
            guard left > .zero else { return .timeIsOver }
            let event = body(Int32(left.milliseconds.rounded(.up)))
            if event != .timeIsOver { return event }
        }
    }
}
