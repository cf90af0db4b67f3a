// Licensed under the Apache License 2.0; see LICENSE.

internal import CHost
internal import Glibc

/// Bytes to a descriptor.
package enum ProcessOutput {
    /// False when nobody reads it any more, or takes nothing for five seconds.
    @discardableResult
    package static func write(_ text: String, to descriptor: Int32) -> Bool {
        var bytes = Array(text.utf8)[...]
        while !bytes.isEmpty {
            let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                bytes = bytes.dropFirst(written)
            } else if errno == EAGAIN {
                // Somebody else has made it so that it does not wait.
                var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                guard unsafe poll(&wanted, 1, 5_000) > 0 else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// What ends a wait.
enum LiveEvent: Sendable, Equatable {
    case timeIsOver
    /// Somebody wants to see it now.
    case redraw
    /// Somebody is done looking, or nobody looks any more.
    case end
}

/// Signals that end a process, as a descriptor that can be waited for.
struct EndSignals: Sendable {
    let descriptor: Int32

    /// Takes over the signals of the process. Once in its life.
    init() throws(StartError) {
        descriptor = csystem_signal_descriptor()
        guard descriptor >= 0 else { throw StartError("cannot listen for signals: \(SystemText.of(-descriptor))") }
    }

    /// Whether TERM or INT has come.
    func hasEnd() -> Bool {
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = unsafe bytes.withUnsafeMutableBytes { unsafe read(descriptor, $0.baseAddress, $0.count) }
        return count > 0 && bytes[..<count].contains { Int32($0) == SIGTERM || Int32($0) == SIGINT }
    }

    /// Waits where nobody types.
    ///
    /// - Parameter output: whoever reads it is waited for; when he leaves, the wait ends.
    func wait(_ milliseconds: Int32, output: Int32) -> LiveEvent {
        var wanted = [
            pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: output, events: 0, revents: 0),
        ]
        guard unsafe poll(&wanted, 2, milliseconds) > 0 else { return .timeIsOver }
        if wanted[1].revents != 0 { return .end }
        return hasEnd() ? .end : .timeIsOver
    }
}

/// The terminal while a live screen stands on it: keys come one by one and unseen. Back to how it was when this ends,
/// whichever way.
struct LiveTerminal: ~Copyable {
    private let former: termios
    private let signals: EndSignals

    /// Whether standard input and output are one.
    static var isThere: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    init(_ signals: EndSignals) {
        self.signals = signals
        var mode = termios()
        unsafe tcgetattr(STDIN_FILENO, &mode)
        former = mode
        // Ctrl-C is a key like others, so that nothing ends before the terminal is as it was.
        mode.c_lflag &= ~tcflag_t(ICANON | ECHO | ISIG)
        unsafe withUnsafeMutableBytes(of: &mode.c_cc) { keys in
            unsafe keys[Int(VMIN)] = 1
            unsafe keys[Int(VTIME)] = 0
        }
        unsafe tcsetattr(STDIN_FILENO, TCSADRAIN, &mode)
        ProcessOutput.write(LiveScreen.begin, to: STDOUT_FILENO)
    }

    deinit {
        ProcessOutput.write(LiveScreen.end, to: STDOUT_FILENO)
        var mode = former
        unsafe tcsetattr(STDIN_FILENO, TCSADRAIN, &mode)
    }

    /// As it is now; a terminal that does not know counts as one of the usual size.
    var size: (rows: Int, columns: Int) {
        var size = winsize()
        guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else {
            return (24, 80)
        }
        return (Int(size.ws_row), Int(size.ws_col))
    }

    /// False when it is gone.
    func draw(_ text: String) -> Bool { text.isEmpty || ProcessOutput.write(text, to: STDOUT_FILENO) }

    /// Returns after a key that means something, a signal, or this time.
    func wait(_ milliseconds: Int32) -> LiveEvent {
        var wanted = [
            pollfd(fd: signals.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0),
        ]
        guard unsafe poll(&wanted, 2, milliseconds) > 0 else { return .timeIsOver }
        if wanted[0].revents != 0, signals.hasEnd() { return .end }
        guard wanted[1].revents != 0 else { return .timeIsOver }
        var keys = [UInt8](repeating: 0, count: 64)
        let count = unsafe keys.withUnsafeMutableBytes { unsafe read(STDIN_FILENO, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR || errno == EAGAIN { return .timeIsOver }
        guard count > 0 else { return .end }
        return LiveKeys.event(of: keys[..<count])
    }
}

/// What keys mean.
enum LiveKeys {
    static func event(of keys: some Sequence<UInt8>) -> LiveEvent {
        var event = LiveEvent.timeIsOver
        for key in keys {
            switch key {
            // q, Ctrl-C, Ctrl-D
            case UInt8(ascii: "q"), UInt8(ascii: "Q"), 3, 4: return .end
            // Ctrl-L, space, return
            case 12, UInt8(ascii: " "), 13, 10: event = .redraw
            default: break
            }
        }
        return event
    }
}
