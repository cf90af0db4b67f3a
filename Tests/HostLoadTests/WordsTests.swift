// Licensed under the Apache License 2.0; see LICENSE.

import Testing

@testable import HostLoad

@Suite struct WordsTests {
    @Test(
        "sizes are rounded down, and huge ones do no harm",
        arguments: [
            (0, "0 bytes"), (1_023, "1023 bytes"), (1_024, "1 KiB"), (432_013_312, "412 MiB"),
            (1_073_741_823, "1023 MiB"),
            (1_073_741_824, "1.0 GiB"), (25_276_510_208, "23.5 GiB"), (1_649_267_441_664, "1.5 TiB"),
            (.max, "8388607.9 TiB"),
        ])
    func bytes(_ count: Int, _ wanted: String) {
        #expect(Words.bytes(count) == wanted)
    }

    @Test(
        "cores are whole, or told to a hundredth",
        arguments: [
            (1, "1 core"), (2, "2 cores"), (1.5, "1.5 cores"), (0.25, "0.25 cores"), (0.05, "0.05 cores"),
            (0.999, "1 core"),
            (0, "0 cores"), (.infinity, "1000000 cores"),
        ])
    func cores(_ count: Double, _ wanted: String) {
        #expect(Words.cores(count) == wanted)
    }

    @Test(
        "shares are whole percents, within reason",
        arguments: [(0, "0 %"), (0.4023, "40 %"), (0.855, "86 %"), (1.04, "104 %"), (9e18, "1000 %"), (-1, "0 %")])
    func percent(_ share: Double, _ wanted: String) {
        #expect(Words.percent(share) == wanted)
    }
}
