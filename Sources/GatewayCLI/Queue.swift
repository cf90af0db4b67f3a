// Licensed under the Apache License 2.0; see LICENSE.

import ArgumentParser
import GatewayDaemon

/// The verbs about stored calls.
struct Queue: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue",
        abstract: "Shows and settles the calls that are stored until their servers can take them.",
        discussion: """
            Example: mcp-gateway queue list --status unknown

            The running gateway answers, over its control socket.
            Exit status: 0 done, 1 not possible or no gateway runs, 64 wrong usage.
            """,
        subcommands: [List.self, Show.self, Retry.self, Cancel.self, Purge.self])

    /// The states of calls that go nowhere by themselves any more.
    private static let over = ["completed", "failed", "expired", "cancelled", "unknown"]

    /// The number of a stored call.
    struct Item: ParsableArguments {
        @Argument(help: "The call's id, as queue list shows it.")
        var id: Int64

        func validate() throws {
            guard id > 0 else { throw ValidationError("an id is a number from 1 on") }
        }
    }

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists stored calls, newest first, and what a person has to decide.",
            discussion: "Example: mcp-gateway queue list --status queued,unknown --upstream erp")

        @OptionGroup var options: OperatorOptions

        @Option(
            help: "Only these: queued, in_flight, completed, failed, expired, cancelled, unknown; with commas between.",
            completion: .list(["queued", "in_flight"] + Queue.over))
        var status: String?

        @Option(help: "Only those for this upstream.")
        var upstream: String?

        @Option(help: "At most so many, up to 1000; 100 when left out.")
        var limit: Int?

        @Option(help: "Only those with a lower id.")
        var before: Int64?

        func run() throws {
            try options.run("queue") { client throws(StartError) in
                try client.queueList(
                    statuses: status.map { $0.split(separator: ",").map(String.init) } ?? [], upstream: upstream,
                    limit: limit, before: before)
            }
        }
    }

    struct Show: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows one stored call: facts, never what is in it.",
            discussion: "Example: mcp-gateway queue show 4711")

        @OptionGroup var item: Item
        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("queue") { client throws(StartError) in try client.queueShow(item.id) }
        }
    }

    struct Retry: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Has a call sent again that failed, expired, was cancelled or is unknown.",
            discussion: "Example: mcp-gateway queue retry 4711")

        @OptionGroup var item: Item
        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("queue") { client throws(StartError) in try client.queueRetry(item.id) }
        }
    }

    struct Cancel: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Takes back a call that waits or is unknown.",
            discussion: "Example: mcp-gateway queue cancel 4711")

        @OptionGroup var item: Item
        @OptionGroup var options: OperatorOptions

        func run() throws {
            try options.run("queue") { client throws(StartError) in try client.queueCancel(item.id) }
        }
    }

    struct Purge: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes calls that are over.",
            discussion: "Example: mcp-gateway queue purge failed expired --older-than 24h")

        @OptionGroup var options: OperatorOptions

        @Argument(
            help: "Which: completed, failed, expired, cancelled, unknown.", completion: .list(Queue.over))
        var statuses: [String]

        @Option(help: "Only those that have not changed for so long, such as 30m, 24h or 7d.")
        var olderThan: String?

        func run() throws {
            try options.run("queue") { client throws(StartError) in
                try client.queuePurge(statuses: statuses, olderThan: olderThan)
            }
        }
    }
}
