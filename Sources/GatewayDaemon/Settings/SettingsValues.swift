// Licensed under the Apache License 2.0; see LICENSE.

/// The checked values of one file, by path, and the defaults of everything that it leaves out.
struct SettingsValues {
    enum Value: Equatable {
        case text(String)
        /// Cannot be known on this machine; the text as it stands in the file.
        case unfilled(String)
        case flag(Bool)
        case number(Int)
        case ratio(Double)
        case duration(Duration)
        case address(ListenAddress)
        case texts([String])
        case map([Entry])
    }
    struct Entry: Equatable {
        let name: String
        let text: String
    }

    let installation: Installation
    var written: [[String]: Value] = [:]

    init(installation: Installation) { self.installation = installation }

    func text(_ path: String...) -> String? {
        switch value(path) {
        case .text(let text), .unfilled(let text): text
        default: nil
        }
    }

    /// Only when its characters are known.
    func knownText(_ path: String...) -> String? {
        if case .text(let text) = value(path) { text } else { nil }
    }

    func flag(_ path: String...) -> Bool { if case .flag(let flag) = value(path) { flag } else { false } }
    func number(_ path: String...) -> Int { number(path) }
    func number(_ path: [String]) -> Int { if case .number(let number) = value(path) { number } else { 0 } }
    func ratio(_ path: [String]) -> Double { optionalRatio(path) ?? 0 }
    func optionalRatio(_ path: [String]) -> Double? { if case .ratio(let ratio) = value(path) { ratio } else { nil } }
    func texts(_ path: String...) -> [String] { if case .texts(let texts) = value(path) { texts } else { [] } }
    func map(_ path: String...) -> [Entry] { if case .map(let entries) = value(path) { entries } else { [] } }

    func duration(_ path: String...) -> Duration { duration(path) }
    func duration(_ path: [String]) -> Duration {
        if case .duration(let duration) = value(path) { duration } else { .zero }
    }

    func optionalNumber(_ path: String...) -> Int? { optionalNumber(path) }
    func optionalNumber(_ path: [String]) -> Int? {
        if case .number(let number) = value(path) { number } else { nil }
    }

    /// nil when the file says nothing and nothing holds by itself.
    func optionalDuration(_ path: String...) -> Duration? { optionalDuration(path) }
    func optionalDuration(_ path: [String]) -> Duration? {
        if case .duration(let duration) = value(path) { duration } else { nil }
    }

    func address(_ path: String...) -> ListenAddress {
        if case .address(let address) = value(path) { address } else { ListenAddress(host: "127.0.0.1", port: 0) }
    }

    /// nil when the file says nothing and nothing holds by itself.
    func optionalAddress(_ path: String...) -> ListenAddress? {
        if case .address(let address) = value(path) { address } else { nil }
    }

    func secrets(_ path: String...) -> [NamedSecret] {
        guard case .map(let entries) = value(path) else { return [] }
        return entries.map { NamedSecret(name: $0.name, value: SecretText($0.text)) }.sorted { $0.name < $1.name }
    }

    /// What the file says; where that is nothing, or cannot be known here, the default.
    private func value(_ path: [String]) -> Value? {
        guard let key = SettingsKey.fitting(path) else { preconditionFailure("no such key: \(path)") }
        guard let value = written[path] else { return Self.standard(of: key, installation) }
        if case .unfilled = value { return Self.standard(of: key, installation) ?? value }
        return value
    }

    static func standard(of key: SettingsKey, _ installation: Installation) -> Value? {
        switch key.standard {
        case .text(let text):
            switch key.kind {
            case .duration: SettingsUnits.duration(text).map { .duration($0) }
            case .size: SettingsUnits.size(text).map { .number($0) }
            case .address: SettingsUnits.address(text).map { .address($0) }
            default: .text(text)
            }
        case .number(let number): .number(number)
        case .ratio(let ratio): .ratio(ratio)
        case .flag(let flag): .flag(flag)
        case .texts(let texts): .texts(texts)
        case .empty: nil
        case .place(let installed, let checkout):
            .text(installation.checkout.map { SettingsUnits.absolute(checkout, in: $0) } ?? installed)
        case .derived, .required, .none: nil
        }
    }
}
