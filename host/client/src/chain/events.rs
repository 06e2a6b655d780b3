//! What pallets said in a block.

use super::{errors, submit::ChainEvent, Chain, REQUEST_TIMEOUT};
use crate::{ClientError, ErrorCode};
use phala_protocol::ids::BlockNumber;
use subxt::{backend::BlockRef, config::substrate::H256};

impl Chain {
    /// What `pallet` said in block `number` of the node's best chain, in order; nothing where the node cannot tell: it has the
    /// block's state no more, or the block's events are of no form that its runtime knows. *The node's word*, and a block's whether it
    /// is finalised or not.
    pub async fn events_of(&self, pallet: &str, number: BlockNumber) -> Result<Option<Vec<ChainEvent>>, ClientError> {
        let hash = self.block_hash(Some(number)).await?;
        let asked = tokio::time::timeout(REQUEST_TIMEOUT, self.events_at(pallet, number, H256(hash)));
        let events = asked.await.unwrap_or_else(|_| {
            let message = format!("the node does not tell the events of block {number}");
            Err(ClientError::new(ErrorCode::Unreachable, message))
        });
        match events {
            Ok(events) => Ok(Some(events)),
            Err(error) if error.code == ErrorCode::Refused => {
                tracing::debug!(number, %error, "the node cannot tell a block's events");
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn events_at(&self, pallet: &str, number: BlockNumber, hash: H256) -> Result<Vec<ChainEvent>, ClientError> {
        let at = self
            .client
            .at_block_hash_and_number(BlockRef::from_hash(hash), number.into())
            .await
            .map_err(|error| errors::other(&error))?;
        let all = at.events().fetch().await.map_err(|error| errors::other(&error))?;
        let mut events = Vec::new();
        for event in all.iter() {
            let event = event.map_err(|error| errors::other(&error))?;
            if event.pallet_name() == pallet {
                events.push(ChainEvent {
                    pallet: event.pallet_name().to_owned(),
                    name: event.event_name().to_owned(),
                    fields: event.field_bytes().to_vec(),
                });
            }
        }
        Ok(events)
    }
}
