// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import CHost
import GatewayDaemon
import Glibc

/// `mcp-gateway`: one verb a file.
struct GatewayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mcp-gateway",
        abstract: "Puts many MCP servers and WebAssembly tools behind one endpoint.",
        discussion: "Example: mcp-gateway serve --config /etc/mcp-gateway/production.toml",
        version: GatewayVersion.text,
        subcommands: [
            Serve.self, Stdio.self, Status.self, Top.self, DoctorVerb.self, Explain.self,
            Tools.self, Upstreams.self, Token.self,
            Reload.self, Drain.self, Breaker.self, Limit.self, Overrides.self, Queue.self, Backup.self, Verify.self,
            Restore.self, ValidateConfig.self,
        ],
        defaultSubcommand: Serve.self)

    /// The asynchronous `main`, by a name that cannot be taken for the other one.
    static func run() async { await main() }
}

/// The option every verb has that needs the configuration.
struct ConfigurationOption: ParsableArguments {
    @Option(
        name: .customLong("config"),
        help:
            "The configuration file. Default: $MCP_GATEWAY_CONFIG, else the checkout's, else the installed one.",
        completion: .file()
    )
    var path: String?

    /// For verbs about a gateway that runs. A file that would be refused does not lock out those who have to deal with
    /// the gateway that was started with it: what can be read of it is taken, where a gateway answers at the control
    /// socket that it names. Else prints what is wrong and ends with 78.
    ///
    /// - Parameter isQuiet: whether nothing is printed of what is wrong.
    func settingsForOperators(isQuiet: Bool = false) throws -> GatewaySettings {
        let environment = ProcessEnvironment.current()
        let installation = Installation.current()
        let file = ConfigurationPath.find(explicit: path, environment: environment, installation: installation)
        try turnStrangersAway()
        func complain(_ words: String) {
            if !isQuiet { Terminal.complain(words) }
        }
        let outcome = SettingsLoader.load(
            path: file, strict: false, environment: environment, installation: installation)
        if let settings = outcome.settings {
            for problem in outcome.problems { complain(problem.description) }
            return settings
        }
        // A file that was named, and does not say where its gateway is, must not lead to another one.
        let isUsualFile = file == ConfigurationPath.find(explicit: nil, environment: [:], installation: installation)
        let guess = SettingsLoader.guess(path: file, environment: environment, installation: installation)
        if guess.namesSocket || isUsualFile && guess.isReadable,
            ControlClient(socketPath: guess.settings.admin.controlSocket).isAnswered
        {
            complain("mcp-gateway: \(file) would be refused; asking the gateway that runs")
            return guess.settings
        }
        for problem in outcome.problems { complain(problem.description) }
        throw ExitCode(78)
    }

    /// Who may not read the file is no operator here, and is told how to become one.
    func turnStrangersAway() throws {
        let file = ConfigurationPath.find(
            explicit: path, environment: ProcessEnvironment.current(), installation: Installation.current())
        guard let invitation = SettingsFiles.invitation(to: file) else { return }
        Terminal.complain("mcp-gateway: you may not read \(file); \(invitation)")
        throw ExitCode(1)
    }

    /// Loads it; prints what is wrong with it and ends with 78.
    func load(strict: Bool = true) throws -> GatewaySettings {
        let environment = ProcessEnvironment.current()
        let installation = Installation.current()
        let file = ConfigurationPath.find(explicit: path, environment: environment, installation: installation)
        let outcome = SettingsLoader.load(
            path: file, strict: strict, environment: environment, installation: installation)
        for problem in outcome.problems { Terminal.complain(problem.description) }
        guard let settings = outcome.settings else { throw ExitCode(78) }
        return settings
    }
}

/// What every verb but `serve` does first.
enum HelperProcess {
    /// Only the serving process may carry the name that operators send signals to; and a signal that reaches a verb all
    /// the same must not end it. Has been done before `main` where the binary goes by its usual name.
    static func begin(_ verb: String) { unsafe csystem_be_verb(verb) }
}

/// Past the C library's streams, whose globals Swift rightly distrusts.
enum Terminal {
    // A reader that has gone away is no concern of ours.
    static func say(_ text: String) { ProcessOutput.write(text + "\n", to: STDOUT_FILENO) }
    static func complain(_ text: String) { ProcessOutput.write(text + "\n", to: STDERR_FILENO) }

    /// Somebody sits before it, and may want to know how far something is.
    static var isWatched: Bool { isatty(STDERR_FILENO) == 1 }

    /// Only on a terminal that has them, and where nobody has said otherwise.
    static var isColoured: Bool { look.isColoured }

    static var look: LiveStatus.Look {
        let environment = ProcessEnvironment.current()
        let kind = environment["TERM"] ?? ""
        let canMove = !kind.isEmpty && kind != "dumb"
        let language = ["LC_ALL", "LC_CTYPE", "LANG"].compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
        return LiveStatus.Look(
            isColoured: isatty(STDOUT_FILENO) == 1 && canMove && environment["NO_COLOR"] == nil,
            hasBlocks: language.uppercased().hasSuffix("UTF-8") || language.uppercased().hasSuffix("UTF8"),
            canMove: canMove)
    }
}
