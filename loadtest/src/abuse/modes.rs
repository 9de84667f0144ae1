//! The kinds of abuse: the four attacks of slowhttptest, and floods of HTTP/2.

use serde::Serialize;

/// One kind of abuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// A request head that never ends (slowhttptest -H)
    SlowHead,
    /// A request body that hardly comes (slowhttptest -B)
    SlowBody,
    /// An answer that hardly gets taken (slowhttptest -X)
    SlowRead,
    /// A thousand ranges of bytes in one field (slowhttptest -R)
    RangeHeader,
    /// Requests that are taken back at once (CVE-2023-44487)
    RapidReset,
    /// A head in frames that never end (CVE-2024-27316)
    Continuation,
    /// SETTINGS and PING frames, each of which has to be answered (CVE-2019-9512, CVE-2019-9515)
    SettingsPing,
    /// Requests that the server is made to reset, by data after their end (CVE-2025-8671)
    MadeYouReset,
    /// Empty DATA frames on requests that wait for their body (CVE-2019-9518)
    EmptyData,
    /// Requests that the server is made to reset, by a window beyond its limit (CVE-2025-8671)
    WindowOverflow,
    /// A head that a few bytes make huge (CVE-2016-6581)
    HeaderBomb,
}

impl Mode {
    /// All, in the order of a report.
    pub(crate) const ALL: [Self; 11] = [
        Self::SlowHead,
        Self::SlowBody,
        Self::SlowRead,
        Self::RangeHeader,
        Self::RapidReset,
        Self::Continuation,
        Self::SettingsPing,
        Self::MadeYouReset,
        Self::EmptyData,
        Self::WindowOverflow,
        Self::HeaderBomb,
    ];

    /// Many connections that do little, and not few that do much.
    pub(crate) const fn is_slow(self) -> bool {
        matches!(self, Self::SlowHead | Self::SlowBody | Self::SlowRead | Self::RangeHeader)
    }

    /// As the command line has it.
    pub(crate) fn name(self) -> String {
        clap::ValueEnum::to_possible_value(&self).map(|value| value.get_name().to_owned()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_is_run_unless_it_is_left_out() {
        assert_eq!(<Mode as clap::ValueEnum>::value_variants(), Mode::ALL);
        assert_eq!(Mode::MadeYouReset.name(), "made-you-reset");
    }
}
