// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// What the verbs that talk to a running gateway share.
enum OperatorVerb {
    /// Prints the answer; ends with 1 when there is none, or when it says that something is wrong.
    static func run(
        json: Bool, _ body: () throws(StartError) -> OperatorAnswer
    ) throws {
        do throws(StartError) {
            let answer = try body()
            let text = json ? answer.json : answer.screen(isColoured: Terminal.isColoured)
            if !text.isEmpty { Terminal.say(text) }
            for (place, words) in answer.complaints.enumerated() {
                Terminal.complain(place == 0 ? "mcp-gateway: \(words)" : words)
            }
            if answer.isGood { return }
        } catch {
            Terminal.complain("mcp-gateway: \(error.words)")
        }
        throw ExitCode(1)
    }
}

/// What each of them takes.
struct OperatorOptions: ParsableArguments {
    @OptionGroup var configuration: ConfigurationOption

    @Flag(help: "Print the gateway's JSON.")
    var json = false

    /// - Parameter verb: what the process calls itself.
    func run(_ verb: String, _ body: (ControlClient) throws(StartError) -> OperatorAnswer) throws {
        HelperProcess.begin(verb)
        let client = ControlClient(socketPath: try configuration.settingsForOperators().admin.controlSocket)
        try OperatorVerb.run(json: json) { () throws(StartError) in try body(client) }
    }
}

/// For orders that undo themselves.
struct LastingOption: ParsableArguments {
    @Option(
        name: .customLong("for"),
        help: "Undoes itself after this time, such as 30s, 30m, 24h or 7d. Default: holds until somebody undoes it.")
    var lasts: String?

    func validate() throws { _ = try words }

    /// As the gateway takes it.
    var words: String? {
        get throws {
            guard let lasts else { return nil }
            guard let words = OrderWords.lasting(lasts) else {
                throw ValidationError("--for takes a time such as 30s, 30m, 24h or 7d, not '\(lasts)'")
            }
            return words
        }
    }
}
