//! Every state of the archive, accounted for object by object, and no secret of any of them told.

mod corpus {
    pub(crate) mod archive;
    mod golden;
    mod secrets;
}
