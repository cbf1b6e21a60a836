//! PostgreSQL: from a URL to a pool of connections on a database that holds a store of this version. Writes no rows but
//! the first of a new store; called by [`super::SqlStore`] only.
//!
//! Several engines open one database at once, so whoever makes or migrates a store does it in one transaction behind an
//! advisory lock: the second finds the first one's work done, and one that dies leaves nothing half made.

use std::time::Duration;

use isobar_engine_model::id::Incarnation;
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction, DbErr, Statement,
    TransactionTrait,
};
use sea_orm_migration::{MigratorTrait, SchemaManager};
use sqlx::postgres::PgConnectOptions;

use super::place::{Kind, Place};
use super::schema::{self, Migrator};
use super::{Opened, failure, read, statement};
use crate::StoreError;

/// Connections of one engine. PostgreSQL takes a hundred by default.
const CONNECTIONS_MAX: u32 = 8;
/// How long a call waits for a connection: its turn, and the making of a new one.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the database works on one statement, the wait for a lock included.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the database keeps a transaction whose engine says nothing: one that is frozen holds its shard's lock no
/// longer than this.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long one statement of a migration, a backup or a restore may take, and the silence between two of them.
const SLOW_TIMEOUT: Duration = Duration::from_secs(600);
/// A connection that nobody needs is closed after so long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// A connection is replaced after so long: an address of the server that has changed is noticed.
const LIFETIME: Duration = Duration::from_secs(1800);
/// Whoever makes or migrates a store holds the advisory lock of this number. `isobar` in ASCII.
const MIGRATION_LOCK: i64 = 0x69_73_6f_62_61_72;

/// Opens the store in a database, or makes it there.
pub(super) async fn open(url: &str, id_if_new: &str) -> Result<Opened, StoreError> {
    let (place, pool) = connect(url).await?;
    match settle(&place, &pool, id_if_new).await {
        Ok((id, incarnation)) => Ok(Opened {
            id,
            incarnation,
            place,
            writer: pool.clone(),
            readers: pool,
        }),
        Err(refusal) => {
            if let Err(error) = pool.close().await {
                tracing::warn!(%error, database = place.name, "a refused database was not closed at once");
            }
            Err(refusal)
        }
    }
}

/// A pool that only reads the store in a database, which engines may be on.
pub(super) async fn look(url: &str) -> Result<(Place, DatabaseConnection), StoreError> {
    let (place, pool) = connect(url).await?;
    let found = SchemaManager::new(&pool).has_table("meta").await;
    if !found.map_err(|error| failure::before_commit(&place, error))? {
        return Err(failure::unsuitable(&place, "there is no store"));
    }
    Ok((place, pool))
}

/// A pool on a database that is there. Nothing is known of what it holds.
async fn connect(url: &str) -> Result<(Place, DatabaseConnection), StoreError> {
    let parsed: PgConnectOptions = url.parse().map_err(|error: sqlx::Error| StoreError::Unsuitable {
        // Not the URL: it may hold a password.
        path: "the database's URL".to_owned(),
        detail: error.to_string(),
    })?;
    let place = Place {
        name: name(&parsed),
        kind: Kind::Postgres,
    };
    let options = parsed.application_name("isobar").options([
        ("default_transaction_isolation", "read committed".to_owned()),
        ("statement_timeout", millis(STATEMENT_TIMEOUT)),
        ("idle_in_transaction_session_timeout", millis(SILENCE_TIMEOUT)),
    ]);
    let mut pool = ConnectOptions::new("postgres://");
    pool.max_connections(CONNECTIONS_MAX)
        .acquire_timeout(TURN_TIMEOUT)
        .idle_timeout(IDLE_TIMEOUT)
        .max_lifetime(LIFETIME)
        // A server that was restarted is noticed before a call, not by it.
        .test_before_acquire(true)
        .sqlx_logging(false)
        .record_stmt_in_spans(false)
        .map_sqlx_postgres_opts(move |_| options.clone());
    let pool = Database::connect(pool).await;
    pool.map(|pool| (place.clone(), pool))
        .map_err(|error| failure::before_commit(&place, error))
}

async fn settle(
    place: &Place,
    pool: &DatabaseConnection,
    id_if_new: &str,
) -> Result<(String, Incarnation), StoreError> {
    suitable(place, pool).await?;
    let failed = |error: DbErr| failure::before_commit(place, error);
    let transaction = pool.begin().await.map_err(failed)?;
    settle_alone(place, &transaction, id_if_new).await?;
    // Made or migrated again if it was not: it looks first.
    transaction.commit().await.map_err(failed)?;
    let (id, _) = read::meta(place, pool).await?;
    let (incarnation, _) = read::life(place, pool).await?;
    Ok((id, incarnation))
}

/// Refuses a database in which the store's promises would not hold.
async fn suitable(place: &Place, pool: &DatabaseConnection) -> Result<(), StoreError> {
    let failed = |error: DbErr| failure::before_commit(place, error);
    let asked = "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')";
    let row = pool
        .query_one_raw(Statement::from_string(pool.get_database_backend(), asked))
        .await;
    let row = row
        .map_err(failed)?
        .ok_or_else(|| failure::unsuitable(place, "it does not tell its settings"))?;
    let (encoding, synchronous): (String, String) = (read::value(place, &row, 0)?, read::value(place, &row, 1)?);
    if encoding != "UTF8" {
        return Err(failure::unsuitable(
            place,
            &format!("its encoding is {encoding}, not UTF8"),
        ));
    }
    if synchronous == "off" {
        return Err(failure::unsuitable(
            place,
            "`synchronous_commit` is off: what it says is committed could be lost",
        ));
    }
    Ok(())
}

/// Makes the store where there is none, and brings an older one up to date. Nobody else does so meanwhile.
async fn settle_alone(place: &Place, transaction: &DatabaseTransaction, id_if_new: &str) -> Result<(), StoreError> {
    let failed = |error: DbErr| failure::before_commit(place, error);
    be_slow(transaction).await.map_err(failed)?;
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    transaction.execute_unprepared(&lock).await.map_err(failed)?;
    if !SchemaManager::new(transaction)
        .has_table("meta")
        .await
        .map_err(failed)?
    {
        if tables(place, transaction).await? > 0 {
            return Err(failure::unsuitable(
                place,
                "it holds tables of something else: give an empty database",
            ));
        }
        Migrator::up(transaction, None).await.map_err(failed)?;
        let made = transaction
            .execute(&statement::new_meta(id_if_new, schema::known()))
            .await;
        return made.map(drop).map_err(failed);
    }
    let (_, schema) = read::meta(place, transaction).await?;
    if schema > schema::known() {
        return Err(failure::newer(place));
    }
    if schema < schema::known() {
        let noted = transaction.execute(&statement::set_schema(schema::known())).await;
        noted.map_err(failed)?;
    }
    Migrator::up(transaction, None).await.map_err(failed)
}

/// Lets a transaction take its time.
pub(super) async fn be_slow(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    let slow = millis(SLOW_TIMEOUT);
    let set = format!("SET LOCAL statement_timeout = {slow}; SET LOCAL idle_in_transaction_session_timeout = {slow}");
    transaction.execute_unprepared(&set).await.map(drop)
}

/// How many tables there are where ours would be.
async fn tables(place: &Place, transaction: &DatabaseTransaction) -> Result<u64, StoreError> {
    let count = "SELECT count(*) FROM information_schema.tables WHERE table_schema = current_schema()";
    let row = transaction
        .query_one_raw(Statement::from_string(transaction.get_database_backend(), count))
        .await
        .map_err(|error| failure::before_commit(place, error))?;
    row.map_or(Ok(0), |row| read::whole(place, &row, 0))
}

/// The URL without its password and options.
fn name(options: &PgConnectOptions) -> String {
    let host = match options.get_socket() {
        Some(socket) => socket.display().to_string(),
        None => format!("{}:{}", options.get_host(), options.get_port()),
    };
    let database = options.get_database().unwrap_or(options.get_username());
    format!("postgres://{}@{host}/{database}", options.get_username())
}

fn millis(time: Duration) -> String {
    time.as_millis().to_string()
}
