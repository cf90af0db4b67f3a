// Licensed under the Apache License 2.0; see LICENSE.

/// Collects the problems of one file. Keeps the first hundred and counts the rest, so that a file of nonsense stays a
/// short answer.
struct SettingsReport {
    static let problemsMax = 100

    let file: String
    /// What depends on the machine and the moment is an error too.
    let isStrict: Bool
    /// Lines of the paths of the file.
    var lines: [[String]: Int] = [:]
    private var problems: [SettingsProblem] = []
    private var uncounted = 0
    private(set) var hasErrors = false

    init(file: String, isStrict: Bool) {
        self.file = file
        self.isStrict = isStrict
    }

    /// Further problems are only counted; saves the work of finding good words for them.
    var isFull: Bool { problems.count >= Self.problemsMax }

    mutating func error(_ path: [String], _ message: String) { add(path, .error, message) }
    mutating func warning(_ path: [String], _ message: String) { add(path, .warning, message) }
    /// Right as written, but not on this machine, now.
    mutating func absence(_ path: [String], _ message: String) { add(path, isStrict ? .error : .warning, message) }

    mutating func add(line: Int?, key: String, _ severity: SettingsProblem.Severity, _ message: String) {
        if severity == .error { hasErrors = true }
        guard !isFull else {
            uncounted += 1
            return
        }
        problems.append(SettingsProblem(file: file, line: line, key: key, severity: severity, message: message))
    }

    private mutating func add(_ path: [String], _ severity: SettingsProblem.Severity, _ message: String) {
        add(line: line(of: path), key: SettingsUnits.keyText(path), severity, message)
    }

    /// The line of the path, or of the nearest table around it.
    func line(of path: [String]) -> Int? {
        var path = path
        while !path.isEmpty {
            if let line = lines[path] { return line }
            path.removeLast()
        }
        return nil
    }

    func isWritten(_ path: [String]) -> Bool { lines[path] != nil }

    func outcome(_ settings: GatewaySettings?) -> SettingsOutcome {
        var sorted = problems.sorted(by: SettingsProblem.isBefore)
        if uncounted > 0 {
            sorted.append(
                SettingsProblem(
                    file: file, line: nil, key: "", severity: .error,
                    message: "and \(uncounted) more; mend the first ones and check again"))
        }
        return SettingsOutcome(settings: hasErrors ? nil : settings, problems: sorted)
    }
}
