//! What goes wrong without anybody's doing.

use crate::{
    chain::{CALM, MOST_LAG},
    world::{DAY, Event, HOUR, TIMING, World},
};

impl World {
    /// Something goes wrong for somebody, or for everybody.
    pub(crate) fn fault(&mut self) {
        let now = self.now;
        let provider = self.dice.chance(500);
        let count = if provider { self.size.providers } else { self.size.requestors };
        let index = self.dice.below(count as u64) as usize;
        let hours = 1 + self.dice.below(8);
        let kind = self.dice.below(10);
        let skew = self.skew();
        let parties = self.size.providers + self.size.requestors;
        let spikes = self.dice.below(parties as u64) < 40;
        let lag = self.dice.pick(&[1, 6, MOST_LAG]);
        let mut until = now + hours * HOUR;
        let away = (3 + self.dice.below(12)) * DAY;
        let tower = provider && self.providers[index].has_tower;
        let actor = self.actor(provider, index);
        let fact = match kind {
            0 => {
                actor.blind_until = until;
                "endpoints down"
            }
            1 => {
                actor.full_until = until;
                "disks full"
            }
            2 => {
                (actor.skew, actor.skewed_until) = (skew, until);
                "clock jumps"
            }
            // One is enough for everybody: as often however many they are.
            3 if spikes => {
                self.chain.fee = CALM * 50;
                self.at(hours * HOUR, Event::Calm);
                "fee spikes"
            }
            8 => {
                (actor.lag, actor.lags_until) = (lag, until);
                "endpoints lagging"
            }
            9 => {
                until += hours * HOUR;
                actor.swallowed_until = until;
                "endpoints swallowing transactions"
            }
            4 | 6 | 7 if tower => {
                until = now + away;
                actor.down_until = until;
                self.at(away, Event::Return { provider, index });
                "days away with a watchtower"
            }
            _ => {
                actor.down_until = until;
                self.at(hours * HOUR, Event::Return { provider, index });
                "parties vanished for hours"
            }
        };
        self.note(fact);
        if kind != 3 || !spikes {
            self.actor(provider, index).has_trouble(now, until);
        }
        if kind == 1 {
            self.at(hours * HOUR + 1, Event::Return { provider, index });
        }
        // As many faults as parties: each meets one about every ten days.
        let every = 10 * DAY / parties.max(1) as u64;
        let next = 1 + self.dice.below(2 * every);
        self.at(next, Event::Fault);
    }

    /// An hour, or just about what an order waits after a deadline; ahead or behind.
    fn skew(&mut self) -> i64 {
        let wait = TIMING.wait_secs as i64;
        let size = self.dice.pick(&[1, wait - 1, wait, wait + 1, HOUR as i64, HOUR as i64]);
        if self.dice.chance(500) { size } else { -size }
    }
}
