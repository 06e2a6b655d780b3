//! The same contract and engine without envelope, signature and encrypted, committed state: what a database with stored procedures
//! does. Entries lie in the clear in one table; a boundary is one durable transaction of it.

use crate::{
    bulk::{balance_key, BALANCE},
    machine::TimedFile,
    measure::{repeated, DiskWait, Stopwatch},
    scene::token,
};
use codec::Encode;
use phala_light_client::testing::TestRandom;
use phala_protocol::{AccountId, ClusterId, CodeHash, ContractId};
use phala_vm::{
    execute, on_contract_stack, BlockContext, CompiledContract, Engine, Entry, Fault, Listing, Outcome, Request, World,
};
use redb::{Database, ReadableDatabase, TableDefinition};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

const ENTRIES: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("entries");
const TOKEN: ContractId = ContractId([7; 32]);

struct Table {
    database: Database,
    pending: Mutex<BTreeMap<Vec<u8>, Option<Vec<u8>>>>,
}

impl World for Table {
    fn read(&self, _: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        if let Some(value) = self.pending.lock().unwrap().get(key) {
            return Ok(value.clone());
        }
        let table = self.database.begin_read().unwrap().open_table(ENTRIES).unwrap();
        let value = table.get(key).unwrap().map(|value| value.value().to_vec());
        Ok(value)
    }

    fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::World("the token draws nothing".into()))
    }

    fn listing(&self, _: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok(None)
    }

    fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        Err(Fault::World("the token calls nobody".into()))
    }
}

/// Seconds a command, with `accounts` accounts, over `boundaries` of `commands` each.
pub fn measure(accounts: usize, boundaries: usize, commands: usize) -> f64 {
    let folder = tempfile::TempDir::new().unwrap();
    let disk = DiskWait::default();
    let backend = TimedFile::open(&folder.path().join("plain.redb"), disk.clone()).unwrap();
    let table = Arc::new(Table {
        database: Database::builder().create_with_backend(backend).unwrap(),
        pending: Mutex::default(),
    });
    let mut random = TestRandom::new(3);
    let accounts: Vec<AccountId> = (0..accounts).map(|_| AccountId(random.bytes())).collect();
    let world = table.clone();
    accounts.iter().for_each(|account| {
        world.pending.lock().unwrap().insert(balance_key(account), Some(BALANCE.encode()));
    });
    commit(&table);
    let code = Arc::new(Engine::new().unwrap().compile(token()).unwrap());
    let mut watch = Stopwatch::new(disk);
    for _ in 0..boundaries {
        let calls: Vec<_> = (0..commands)
            .map(|_| (accounts[random.below(accounts.len())], accounts[random.below(accounts.len())]))
            .collect();
        watch.time(|| {
            on_contract_stack(|| calls.iter().for_each(|(from, to)| transfer(&code, &table, *from, *to))).unwrap();
            commit(&table);
        });
    }
    watch.busy() / (boundaries * commands) as f64
}

/// Entries in a map.
struct Map(BTreeMap<Vec<u8>, Vec<u8>>);

impl World for Map {
    fn read(&self, _: &ContractId, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(key).cloned())
    }

    fn random(&self, _: &ContractId, _: u64, _: &mut [u8]) -> Result<(), Fault> {
        Err(Fault::World("the token draws nothing".into()))
    }

    fn listing(&self, _: &ContractId) -> Result<Option<Listing>, Fault> {
        Ok(None)
    }

    fn code(&self, _: &CodeHash) -> Result<Arc<CompiledContract>, Fault> {
        Err(Fault::World("the token calls nobody".into()))
    }
}

/// Seconds that a transfer's execution takes by itself.
pub fn execution(least: Duration) -> f64 {
    let code = Arc::new(Engine::new().unwrap().compile(token()).unwrap());
    let (from, to) = (AccountId([1; 32]), AccountId([2; 32]));
    let entries = [from, to].iter().map(|account| (balance_key(account), BALANCE.encode())).collect();
    let world = Arc::new(Map(entries));
    on_contract_stack(|| {
        repeated(least, || {
            for _ in 0..1_000 {
                let execution = execute(&code, &request(from, to), world.clone()).unwrap();
                assert!(matches!(execution.outcome, Outcome::Returned(_)));
            }
        }) / 1_000.0
    })
    .unwrap()
}

fn request(from: AccountId, to: AccountId) -> Request {
    Request {
        contract: TOKEN,
        caller: from,
        value: 0,
        entry: Entry::Call,
        input: ("transfer", (to, 1u128)).encode(),
        gas_limit: 10_000_000,
        context: BlockContext { cluster: ClusterId(0), block_number: 1, block_time_ms: 1 },
    }
}

fn transfer(code: &Arc<CompiledContract>, table: &Arc<Table>, from: AccountId, to: AccountId) {
    let execution = execute(code, &request(from, to), table.clone()).unwrap();
    assert!(matches!(execution.outcome, Outcome::Returned(_)), "{:?}", execution.outcome);
    let mut pending = table.pending.lock().unwrap();
    pending.extend(execution.writes.into_iter().map(|((_, key), value)| (key, value)));
}

fn commit(table: &Table) {
    let pending = std::mem::take(&mut *table.pending.lock().unwrap());
    let transaction = table.database.begin_write().unwrap();
    {
        let mut entries = transaction.open_table(ENTRIES).unwrap();
        for (key, value) in &pending {
            match value {
                Some(value) => entries.insert(key.as_slice(), value.as_slice()).unwrap(),
                None => entries.remove(key.as_slice()).unwrap(),
            };
        }
    }
    transaction.commit().unwrap();
}
