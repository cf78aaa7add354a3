//! The programs are beside this file. This file only has the code of the project's README and guides compiled, and where
//! it needs no server, run.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../docs/guides/sensor-to-server.md")]
struct SensorToServer;

#[cfg(doctest)]
#[doc = include_str!("../docs/guides/surviving-a-cut.md")]
struct SurvivingACut;

#[cfg(doctest)]
#[doc = include_str!("../docs/guides/from-rumqttc.md")]
struct FromRumqttc;

#[cfg(doctest)]
#[doc = include_str!("../docs/guides/from-paho-c.md")]
struct FromPahoC;
