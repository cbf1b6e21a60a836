//! Where `--spread` leads: to the `distributed-scheduler` crate in a binary with the feature of that name, to a word about
//! it in any other. Called by `serve`.

pub(crate) use imp::{server, start};

#[cfg(feature = "distributed-scheduler")]
mod imp {
    use std::sync::Arc;

    use anyhow::Result;
    use isobar_engine_control::Fleet;
    pub(crate) use isobar_spread::{Server, Spread};

    use crate::exit::{Complaint, Exit};

    /// Reads the URL of the Redis server.
    pub(crate) fn server(url: &str) -> Result<Server> {
        Server::read(url).map_err(|error| {
            Complaint::new(Exit::Usage, "--spread is no URL of a Redis server")
                .hint("give it as redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]")
                .because(error)
                .into()
        })
    }

    /// Joins the ring.
    pub(crate) fn start(server: Server, fleet: Arc<Fleet>) -> Spread {
        Spread::start(server, fleet)
    }
}

#[cfg(not(feature = "distributed-scheduler"))]
mod imp {
    use std::sync::Arc;

    use anyhow::Result;
    use isobar_engine_control::Fleet;

    use crate::exit::{Complaint, Exit};

    /// There is none.
    pub(crate) enum Server {}

    /// There is none.
    pub(crate) enum Spread {}

    impl Spread {
        /// Never called.
        pub(crate) async fn stop(self) {
            match self {}
        }
    }

    /// Says what it takes.
    pub(crate) fn server(_url: &str) -> Result<Server> {
        Err(Complaint::new(
            Exit::Usage,
            "--spread needs an `isobar` that was built with the feature `distributed-scheduler`",
        )
        .hint("leave --spread out: engines spread periodic work by themselves; docs/several-engines.md says more")
        .into())
    }

    /// Never called.
    pub(crate) fn start(server: Server, _fleet: Arc<Fleet>) -> Spread {
        match server {}
    }
}
