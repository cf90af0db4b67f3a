// Licensed under the Apache License 2.0; see LICENSE.

/// Why something could not be done with the tokens. Besides a name that was found good, no text in it comes from
/// a token file or from whoever asks, since either may hold a secret in a place where nobody expects one.
package enum AccessError: Error, Sendable, Equatable {
    /// What was asked for is not possible: a name, a role or a time that no token can have.
    case refused(String)
    /// A token of this name is in force.
    case nameTaken(String)
    /// No token has this id or name.
    case unknown
    /// There are as many tokens as there may be, and all of them are in force.
    case full(max: Int)
    /// The file holds what is no token. It was left as it is.
    case damaged(file: String, line: Int, detail: String)
    /// Another process has been changing the file for longer than one waits.
    case busy(file: String)
    /// The file or its directory cannot be used.
    case unusable(what: String, detail: String)

    /// What happened, why, and what to do.
    package var words: String {
        switch self {
        case .refused(let why): why
        case .nameTaken(let name):
            "there is a token with the name \(name) already; choose another name, or revoke that one first"
        case .unknown: "no token has this id or name; `mcp-gateway token list` shows those there are"
        case .full(let max):
            "there are \(max) tokens, which is as many as there may be; revoke those that nobody needs"
        case .damaged(let file, let line, let detail):
            "line \(line) of \(file) is no token: \(detail); the file was left as it is; correct or remove the line, "
                + "or put the file back from a copy"
        case .busy(let file):
            "\(file) is being changed by another process, which holds \(file).lock; nothing was changed; try again"
        case .unusable(let what, let detail): "\(what) cannot be used: \(detail)"
        }
    }
}
