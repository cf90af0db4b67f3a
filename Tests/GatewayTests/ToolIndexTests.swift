// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import Gateway

@Suite("Search over tools") struct ToolIndexTests {
    static let tools: [ToolDocument] = [
        ToolDocument(
            name: "github__create_issue", title: "Open new issue",
            description: "Creates an issue in a GitHub repository.",
            parameterNames: ["owner", "repo", "title", "body", "labels"]),
        ToolDocument(
            name: "github__list_issues", description: "Lists issues of a repository, newest first.",
            parameterNames: ["owner", "repo", "state", "since"]),
        ToolDocument(
            name: "github__merge_pull_request", description: "Merges a pull request once its checks have passed.",
            parameterNames: ["owner", "repo", "pullNumber", "merge_method"]),
        ToolDocument(
            name: "slack__postMessage", description: "Sends a text to a channel or a person.",
            parameterNames: ["channelId", "text", "thread_ts"]),
        ToolDocument(
            name: "mail__send", title: "Send email", description: "Sends a message to one or more addresses.",
            parameterNames: ["recipients", "subject", "body"]),
        ToolDocument(
            name: "files__read", description: "Reads the contents of a file. Large files are read in parts.",
            parameterNames: ["path", "offset"]),
        ToolDocument(
            name: "files__search",
            description: "Finds files whose names fit a pattern, in a directory and all that is below it.",
            parameterNames: ["path", "pattern", "filters"]),
        ToolDocument(
            name: "db__run-query",
            description: "Runs a read-only SQL query against PostgreSQL and gives back the rows.",
            parameterNames: ["sql"]),
        ToolDocument(
            name: "calendar__find_free_time",
            description: "Looks for a time at which all participants of a meeting are free.",
            parameterNames: ["attendees", "durationMinutes"]),
        ToolDocument(
            name: "kb__查询天气", description: "查询一个城市的天气预报", parameterNames: ["city"]),
        ToolDocument(
            name: "storage__getS3Object", description: "Fetches an object out of a bucket.",
            parameterNames: ["bucket", "key", "sha256"]),
        ToolDocument(name: "send", description: "Puts a job into the queue."),
    ]

    private func names(_ query: String, limit: Int = 10, in tools: [ToolDocument] = tools) -> [String] {
        ToolIndex(tools).search(query, limit: limit).map { tools[$0.index].name }
    }

    static let questions: [(String, String)] = [
        ("open an issue on github", "github__create_issue"), ("creating issues", "github__create_issue"),
        ("what issues are there, as a list", "github__list_issues"), ("PullRequest", "github__merge_pull_request"),
        ("post a message to a slack channel", "slack__postMessage"), ("I want to send an email", "mail__send"),
        ("read file", "files__read"), ("find files by pattern", "files__search"),
        ("sql queries on postgres", "db__run-query"), ("schedule a meeting with attendees", "calendar__find_free_time"),
        ("城市天气", "kb__查询天气"), ("s3 objects", "storage__getS3Object"), ("SHA-256", "storage__getS3Object"),
        ("label", "github__create_issue"), ("postgresql", "db__run-query"),
    ]

    @Test("The tool that is meant comes first", arguments: questions)
    func first(_ query: String, _ name: String) {
        #expect(names(query).first == name, "\(names(query))")
    }

    @Test func `a name that is the whole question stands before all others`() {
        #expect(names("mail__send").first == "mail__send")
        #expect(names(" `GitHub__Create_Issue`\n").first == "github__create_issue")
        // Both are called send; the one without a prefix is meant by its whole name.
        #expect(names("send").prefix(2) == ["send", "mail__send"])
        #expect(names("postmessage").first == "slack__postMessage")
        let twins = [ToolDocument(name: "get", description: ""), ToolDocument(name: "Get", description: "")]
        #expect(names("Get", in: twins) == ["Get", "get"])
    }

    @Test func `a beginning finds less than the word`() throws {
        let tools = [
            ToolDocument(name: "a", description: "Shows the configuration."),
            ToolDocument(name: "b", description: "Shows the config."),
        ]
        #expect(names("config", in: tools) == ["b", "a"])
        #expect(names("confi", in: tools) == ["a", "b"])
        // Two letters are the beginning of too much, and no stem of the question is cut for this.
        #expect(names("co", in: tools) == [])
        #expect(names("file", in: [ToolDocument(name: "x", description: "Sets a filter.")]) == [])
    }

    @Test func `equals keep the order of the tools, every time`() {
        let tools = (0..<50).map { ToolDocument(name: "tool\($0)", description: "Counts sheep.") }
        let expected = (0..<10).map { "tool\($0)" }
        for _ in 0..<5 { #expect(names("sheep", in: tools) == expected) }
    }

    @Test func `scores fall, and no more hits come than are asked for`() {
        let index = ToolIndex(Self.tools)
        let hits = index.search("send a message to a repository", limit: 100)
        #expect(hits.count >= 4)
        #expect(zip(hits, hits.dropFirst()).allSatisfy { $0.score >= $1.score })
        #expect(index.search("send a message to a repository", limit: 2) == Array(hits.prefix(2)))
        #expect(index.search("send", limit: 0) == [] && index.search("send", limit: -1) == [])
    }

    @Test(arguments: ["", "   ", "_-.", "xyzzy", "\u{0}", "🙂"])
    func `a question that says nothing finds nothing`(_ query: String) {
        #expect(names(query) == [])
        #expect(ToolIndex([]).search(query, limit: 5) == [])
    }

    @Test func `words around the question count only when there are no others`() {
        let tools = [
            ToolDocument(name: "a", description: "How to do it with a tool for you and me."),
            ToolDocument(name: "b", description: "Adds numbers."),
        ]
        #expect(names("a tool to add numbers for me", in: tools) == ["b"])
        #expect(names("for you", in: tools) == ["a"])
    }

    @Test func `a question is cut at its bounds`() {
        let fits = String(repeating: "none ", count: ToolIndex.queryWordsMax - 1)
        #expect(names(fits + "email") == ["mail__send"])
        #expect(names(fits + "none email") == [])
        #expect(names(String(repeating: " ", count: ToolIndex.queryBytesMax - 5) + "email") == ["mail__send"])
        #expect(names(String(repeating: " ", count: ToolIndex.queryBytesMax) + "email") == [])
    }

    @Test func `a description of a megabyte is read in its beginning only`() {
        let tools = [
            ToolDocument(name: "a", description: "first " + String(repeating: "x ", count: 500_000) + " last"),
            ToolDocument(name: "b", description: String(repeating: "y", count: 1_000_000)),
        ]
        #expect(names("first", in: tools) == ["a"])
        #expect(names("last", in: tools) == [])
        let index = ToolIndex(tools)
        #expect(index.words.allSatisfy { $0.utf8.count <= SearchWords.runLengthMax })
    }
}

@Suite("Words of a search") struct SearchWordsTests {
    static let splits: [(String, [String])] = [
        ("erp__create-ticket.v2", ["erp", "create", "ticket", "v", "2", "v2"]),
        ("getHTTPServer", ["get", "http", "server", "gethttpserver"]),
        ("listURLs", ["list", "urls", "listurls"]), ("APIs", ["apis"]), ("IDsOf", ["ids", "of", "idsof"]),
        ("GitHub", ["git", "hub", "github"]), ("S3", ["s", "3", "s3"]),
        ("größe ÄndernJetzt", ["größe", "ändern", "jetzt", "ändernjetzt"]),
        ("e\u{301}te\u{301}", ["e\u{301}te\u{301}"]), ("天气ok", ["天", "气", "ok"]), ("don't", ["don", "t"]), ("", []),
    ]

    @Test("A text is parted where names are", arguments: splits)
    func split(_ text: String, _ words: [String]) {
        #expect(SearchWords.split(text, bytesMax: 1_024, countMax: 64) == words)
    }

    static let families: [[String]] = [
        ["create", "creates", "created", "creating"], ["list", "lists", "listed", "listing"],
        ["query", "queries", "queried", "querying"], ["run", "runs", "running"], ["issue", "issues"],
        ["box", "boxes"], ["branch", "branches"], ["process", "processes", "processing", "processed"],
        ["fill", "filling", "filled"], ["move", "moves", "moving", "moved"], ["database", "databases"],
    ]

    @Test("Forms of one word come out alike", arguments: families)
    func stem(_ words: [String]) {
        #expect(Set(words.map(SearchWords.stem)).count == 1, "\(words.map(SearchWords.stem))")
    }

    @Test(arguments: ["string", "thing", "status", "analysis", "access", "feed", "need", "sms", "größen", "v2s", "bus"])
    func `what only looks like an ending stays`(_ word: String) {
        #expect(SearchWords.stem(word) == word)
    }
}
