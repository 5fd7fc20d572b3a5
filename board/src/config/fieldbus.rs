//! The `[modbus]` table: off where it is not there.

use super::table::Source;
use super::{Board, ConfigError, SerialRole};
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use toml::Spanned;

/// The port that Modbus TCP has by convention. Below 1024: the program needs `CAP_NET_BIND_SERVICE` for it.
pub const MODBUS_PORT: u16 = 502;
/// Highest unit identifier that a Modbus device may have.
const UNIT_MAX: u8 = 247;

/// Modbus, as the board file asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModbusConfig {
    /// The unit identifier that it answers to.
    pub unit: u8,
    /// Where it listens for TCP, if it does.
    pub tcp: Option<TcpConfig>,
}

/// Modbus over TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// Address and port. Loopback unless the file says otherwise: Modbus knows no password.
    pub listen: SocketAddr,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModbusTable {
    unit: Option<Spanned<u8>>,
    #[serde(default)]
    tcp: bool,
    address: Option<Spanned<String>>,
    port: Option<Spanned<u16>>,
}

pub(super) fn modbus(
    source: &Source<'_>,
    table: Option<&Spanned<ModbusTable>>,
    board: &mut Board,
) -> Result<(), ConfigError> {
    let rtu = board.serial.iter().any(|port| port.role == SerialRole::Modbus);
    let Some(table) = table else {
        // A port with the role is wish enough; the unit then has its usual number.
        board.modbus = rtu.then_some(ModbusConfig { unit: 1, tcp: None });
        return Ok(());
    };
    let (place, table) = (table.span(), table.get_ref());
    let unit = match &table.unit {
        Some(unit) => source.within(unit, 1..=UNIT_MAX, "[modbus] unit")?,
        None => 1,
    };
    if !table.tcp && !rtu {
        let remedy = "set tcp = true, or give a [[serial]] port role = \"modbus\"";
        return Err(source.error(&place, "[modbus]", "reaches nobody", remedy));
    }
    let tcp_only = [
        ("[modbus] address", table.address.as_ref().map(Spanned::span)),
        ("[modbus] port", table.port.as_ref().map(Spanned::span)),
    ];
    if let Some((key, Some(place))) = tcp_only.iter().find(|(_, at)| at.is_some() && !table.tcp) {
        let what = "is for TCP, which is off";
        return Err(source.error(place, key, what, "set tcp = true or remove it"));
    }
    let address = match &table.address {
        Some(text) => text.get_ref().parse::<IpAddr>().map_err(|e| {
            let remedy = "give the address of an interface of this machine, as 192.168.1.10";
            source.error(&text.span(), "[modbus] address", e, remedy)
        })?,
        None => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    let port = match &table.port {
        Some(port) => source.within(port, 1..=u16::MAX, "[modbus] port")?,
        None => MODBUS_PORT,
    };
    let tcp = table.tcp.then(|| TcpConfig { listen: SocketAddr::new(address, port) });
    board.modbus = Some(ModbusConfig { unit, tcp });
    Ok(())
}
