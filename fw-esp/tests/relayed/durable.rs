//! A host whose session outlives its power.

use crate::stage::{CONFIG, Scene, host};
use crate::world::numbered;
use holdline_esp::{Buffers, Channel, Store, StoreFailed};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::rc::Rc;

#[derive(Clone, Default)]
struct Records(Rc<RefCell<BTreeMap<u8, Vec<u8>>>>);

impl Store for Records {
    async fn load(&mut self, number: u8, into: &mut [u8]) -> Result<Option<usize>, StoreFailed> {
        Ok(self.0.borrow().get(&number).map(|record| {
            into[..record.len()].copy_from_slice(record);
            record.len()
        }))
    }

    async fn save(&mut self, number: u8, record: &[u8]) -> Result<(), StoreFailed> {
        self.0.borrow_mut().insert(number, record.to_vec());
        Ok(())
    }
}

#[test]
fn a_durable_host_goes_on_after_a_loss_of_power() {
    let scene = Scene::new();
    let (records, read) = (Records::default(), RefCell::new(Vec::new()));
    scene.send(&numbered(20));
    let lives = Cell::new(0);
    let mut tasks = scene.tasks();
    tasks.spawn(async {
        loop {
            let mut buffers = Buffers::<1024, 256, 400, 4>::new();
            let (mut record, mut random, mut store) = ([0; 128], scene.random(), records.clone());
            let made = Channel::durable("pump-1", CONFIG, &mut buffers, &mut random, &mut store, &mut record, None);
            let mut channel = made.await.expect("valid");
            let (mut client, line) = channel.split();
            let (host, mut wiring) = (host(), scene.wiring());
            let mut running = Box::pin(host.run_durable(&mut client, &mut wiring, &mut store));
            let mut talking = Box::pin(async {
                // Each life takes five messages, and sends one.
                line.send(&lives.get().to_string()).await.expect("it can be sent");
                let mut buffer = [0; 64];
                for _ in 0..5 {
                    let text = line.readline(&mut buffer).await.expect("open").to_owned();
                    read.borrow_mut().push(text);
                    scene.time.sleep(700).await;
                }
            });
            poll_fn(|cx| {
                assert!(running.as_mut().poll(cx).is_pending(), "it ended");
                talking.as_mut().poll(cx)
            })
            .await;
            lives.set(lives.get() + 1);
        }
    });
    tasks.run(&scene.peer, 120_000, |peer| read.borrow().len() == 20 && peer.received.len() == 4);
    assert_eq!((&*read.borrow(), &scene.peer.borrow().received), (&numbered(20), &numbered(4)));
}
