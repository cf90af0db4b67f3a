// Licensed under the Apache License 2.0; see LICENSE.

/// Small plug-ins in WebAssembly text. Texts lie in their memory and are copied byte by byte, as real plug-in kits do.
enum Guest {
    static let definition =
        #"{"name":"t","description":"a tool","inputSchema":{"type":"object"},"annotations":{"weight":1.50},"#
        + #""title":null}"#

    private static func data(_ offset: Int, _ text: String) -> String {
        let digits = Array("0123456789abcdef")
        let escaped = text.utf8.map { "\\\(digits[Int($0 >> 4)])\(digits[Int($0 & 15)])" }.joined()
        return "(data (i32.const \(offset)) \"\(escaped)\")"
    }

    private static let imports = """
        (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
        (import "extism:host/env" "load_u8" (func $load_u8 (param i64) (result i32)))
        (import "extism:host/env" "length" (func $length (param i64) (result i64)))
        (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
        (import "extism:host/env" "input_length" (func $input_length (result i64)))
        (import "extism:host/env" "input_offset" (func $input_offset (result i64)))
        (import "extism:host/env" "input_load_u8" (func $input_load_u8 (param i64) (result i32)))
        (import "extism:host/env" "output_set" (func $output_set (param i64 i64)))
        (import "extism:host/env" "error_set" (func $error_set (param i64)))
        (import "extism:host/env" "log_info" (func $log_info (param i64)))
        (import "extism:host/env" "config_get" (func $config_get (param i64) (result i64)))
        (import "extism:host/env" "var_get" (func $var_get (param i64) (result i64)))
        (import "extism:host/env" "var_set" (func $var_set (param i64 i64)))
        (import "extism:host/env" "http_request" (func $http_request (param i64 i64) (result i64)))
        """

    private static let helpers = """
        ;; A handle to a copy of the text in memory.
        (func $text (param $from i32) (param $count i32) (result i64)
          (local $handle i64) (local $i i32)
          (local.set $handle (call $alloc (i64.extend_i32_u (local.get $count))))
          (loop $next
            (if (i32.lt_u (local.get $i) (local.get $count)) (then
              (call $store_u8 (i64.add (local.get $handle) (i64.extend_i32_u (local.get $i)))
                (i32.load8_u (i32.add (local.get $from) (local.get $i))))
              (local.set $i (i32.add (local.get $i) (i32.const 1)))
              (br $next))))
          (local.get $handle))
        (func $put (param $handle i64) (call $output_set (local.get $handle) (call $length (local.get $handle))))
        ;; {"value":<number>} with up to nine digits.
        (func $number (param $value i32)
          (local $handle i64) (local $i i32)
          (local.set $handle (call $text (i32.const 1024) (i32.const 19)))
          (local.set $i (i32.const 17))
          (loop $next
            (call $store_u8 (i64.add (local.get $handle) (i64.extend_i32_u (local.get $i)))
              (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
            (local.set $value (i32.div_u (local.get $value) (i32.const 10)))
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (br_if $next (local.get $value)))
          (call $put (local.get $handle)))
        """

    /// A plug-in of the first generation whose `call` has this body. `text(n)` in the body puts a handle of `texts[n]`.
    static func v1(
        texts: [String] = [], imports more: String = "", globals: String = "", functions: String = "", pages: Int = 2,
        call body: String
    ) -> String {
        let list = #"{"tools":[\#(definition)]}"#
        var place = 2_048
        var body = body
        var pieces = [data(1_024, #"{"value":         }"#), data(32_768, list)]
        for (index, text) in texts.enumerated() {
            pieces.append(data(place, text))
            let handle = "(call $text (i32.const \(place)) (i32.const \(text.utf8.count)))"
            body = body.split(separator: "text(\(index))", omittingEmptySubsequences: false).joined(separator: handle)
            place += text.utf8.count
        }
        return """
            (module \(imports) \(more)
              (memory (export "memory") \(pages))
              \(globals) \(pieces.joined(separator: "\n")) \(helpers) \(functions)
              (func (export "describe") (result i32)
                (call $put (call $text (i32.const 32768) (i32.const \(list.utf8.count)))) (i32.const 0))
              (func (export "call") (result i32) \(body)))
            """
    }

    /// Answers with its own input, as it is.
    static let echo = v1(call: "(call $output_set (call $input_offset) (call $input_length)) (i32.const 0)")

    static let spin = v1(call: "(loop $again (br $again)) (i32.const 0)")

    /// A plug-in of the second generation that answers with its own input and lists one tool.
    static let echoV2 = echo.split(separator: #""describe""#).joined(separator: #""list_tools""#)
        .split(separator: #""call")"#).joined(separator: #""call_tool")"#)

    static let wasiImports = """
        (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
        (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "path_open"
          (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        """

    /// Answers with the number that the body leaves.
    static func wasi(texts: [String] = [], _ body: String) -> String {
        v1(texts: texts, imports: wasiImports, call: "(call $number \(body)) (i32.const 0)")
    }

    /// Sleeps for so many nanoseconds, then answers with what `poll_oneoff` returned.
    static func sleep(_ nanoseconds: Int) -> String {
        v1(
            imports: wasiImports,
            call: """
                (i64.store (i32.const 600) (i64.const 5)) (i32.store (i32.const 616) (i32.const 1))
                (i64.store (i32.const 624) (i64.const \(nanoseconds)))
                (call $number (call $poll (i32.const 600) (i32.const 700) (i32.const 1) (i32.const 760))) (i32.const 0)
                """)
    }
}
